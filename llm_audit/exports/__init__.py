"""Calls as lines of a file: columns and formats, whoever writes them."""
