"""What MongoDB answers: its codes and words, what it does without, and what users are told."""
