"""The pieces of a stream -> the answer that would have come in one, a file for each kind."""
