"""The thread that brings the journal to MongoDB, and shows there that this process lives.

`shipper` is the thread, and what it does now and then are its `chores`. One journal on its way is a
`shipment`, each record of which may pass a `stage`; `acknowledged` and `backlog` say how far it is,
`availability` whether MongoDB takes it, and `heartbeat` tells others that we live.
"""
