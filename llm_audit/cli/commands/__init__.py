"""One file for each command, or for commands that share everything."""
