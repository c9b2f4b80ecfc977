"""Pages of calls: the list, one of them, and what is made of some."""
