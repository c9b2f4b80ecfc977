"""What a caller gives: the arguments of a start, an outcome, an error, a score."""
