"""One file for each command, or for commands that share everything, by the panels of `--help`."""
