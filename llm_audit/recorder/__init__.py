"""The write path, in the order a call flows through it.

    encode -> journal -> backlog -> delivery -> MongoDB

`process` holds them together for one process; `shipper` is the thread that drives the second half;
`spool` and `recovery` take care of what dead processes left.
"""
