"""This process's recorder: open calls, the thread that ships, signs of life, and the dead.

A call passes through `process` into the journal; the thread of `shipper` brings it to MongoDB. One
journal on its way there is a `shipment`, and what the thread does now and then are its `chores`.
`heartbeat` shows others that this process lives, `recovery` and `closing` finish what dead ones
began.
"""
