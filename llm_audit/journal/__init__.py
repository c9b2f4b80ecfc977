"""A process's journal on disk: what one record is, how it is written, and how it is read on.

`records` says what a record holds, `precedence` which outcome stands, and `ends` what the end of a
call comes to. `writer` appends records to `segments`, in the folders of the `spool`; `reader` reads
on, in `batches`, and `statements` puts them to MongoDB. `beliefs` says how much is believed of what
others have left, `room` how much fits, `losses` counts what did not arrive, and `complaints` say so
in the log.
"""
