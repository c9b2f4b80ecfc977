"""Secrets: what they look like, and the quick look that tells most documents to have none.

`patterns` finds them in a text, `assignments` those that are given by name, and `names` knows the
names. `look` looks at a document as bytes, `raw` at a body as it goes over the wire, and `pieces`
puts the texts of a stream together for that.
"""
