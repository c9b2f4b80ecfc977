"""What providers say, read once: responses, usage, prices and messages."""
