"""The write path, in the order a call flows through it.

    encode -> journal -> backlog -> delivery -> MongoDB

`process` holds them together for one process; `shipper` is the thread that drives the second half.
`spool` is the folder; `adoption` and `recovery` take care of what dead processes left there;
`heartbeat` and `processes` show in the database who lives and what arrived; `rejected` and `retry`
keep what MongoDB refused and send it again; `blobs` and `media` are for content too large for a
document.
"""
