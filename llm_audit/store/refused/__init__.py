"""What MongoDB refused: kept in a collection of its own or, while it refuses that too, in files."""
