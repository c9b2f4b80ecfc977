"""The agent: one process of a machine that brings the journals of all the others to MongoDB.

`agent` is its loop, `post` the lock by which there is one under each kernel, and what it says of
itself there; a `neighbour` is one process for which it ships, and `neighbourhood` all of them.
"""
