"""Pages that add calls up."""
