"""What pages of one call draw beside what was said in it."""
