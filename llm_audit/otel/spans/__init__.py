"""What a span says of an LLM call, whoever made the span: pure functions that need no SDK."""
