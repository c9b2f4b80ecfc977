"""Commands that show calls: single ones, lists, and those of a trace, a session or a task."""
