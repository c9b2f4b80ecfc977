"""The table of APIs, a file for each family of them."""
