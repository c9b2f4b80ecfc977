"""The picture of a trace: its rows and bars, what of it is looked at, and all of it in a strip."""
