"""The questions that recorded calls answer."""
