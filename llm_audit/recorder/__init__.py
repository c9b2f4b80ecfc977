"""This process's recorder: open calls, the thread that ships, signs of life, and the dead.

A call passes through `process` and `journaling` into the journal; the thread in `shipping` brings
it to MongoDB. `recovery` and `closing` finish what dead processes began, and `retry` sends again
what MongoDB refused.
"""
