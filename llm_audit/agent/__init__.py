"""The agent: one process of a machine that brings the journals of all the others to MongoDB.

`agent` is its loop, and `post` the lock by which there is one under each kernel. A `neighbour` is
one process for which it ships, `neighbourhood` all of them; each is a `job` for the threads of
`sending`. `health` looks at an agent from outside.
"""
