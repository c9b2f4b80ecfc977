"""What stands before the pages: who may ask, from where, and what a browser may do with answers."""
