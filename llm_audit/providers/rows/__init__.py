"""The table of shapes, a file for each kind of answer; the first row that knows a body counts."""
