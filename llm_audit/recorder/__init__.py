"""This process's recorder: open calls, the thread that ships, signs of life, and the dead.

A call passes through `process` into the journal; the thread of `shipper` brings it to MongoDB.
`heartbeat` shows others that this process lives, `recovery` and `closing` finish what dead ones
began.
"""
