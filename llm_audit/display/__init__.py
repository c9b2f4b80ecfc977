"""How what was recorded is put before people, in a terminal or on a page."""
