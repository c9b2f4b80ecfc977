"""A process's journal on disk: what one record is, how it is written, and how it is read on.

`operations` and `records` say what a record holds, `precedence` which outcome stands; `segments`
are the files, `writer` appends to them and `reader` reads on. `spool` is the folder around them,
`looking` finds those of others and `owners` says whose they are; `adoption` takes over what the
dead left, and `beliefs` says how much of it is believed. `losses` counts what did not arrive,
`memory` holds what the disk refuses, and `complaints` say so in the log.
"""
