"""What pages draw: what was said, markup, charts."""
