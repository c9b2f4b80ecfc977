"""Records as statements for MongoDB, which make one document of a call in whatever order they come.

`writes` is how a record is put, `later` what is said after the fact, `bare` what is left of a
record without its content, and `retention` how long a call is kept.
"""
