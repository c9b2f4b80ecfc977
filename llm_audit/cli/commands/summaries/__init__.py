"""Commands that say what many calls have in common."""
