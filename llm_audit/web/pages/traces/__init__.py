"""Pages of traces."""
