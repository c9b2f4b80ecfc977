"""Commands for who operates it: its health, settings, journals, indexes, views and prices."""
