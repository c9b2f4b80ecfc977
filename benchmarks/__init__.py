"""What llm-audit costs, as ratios between things measured side by side in one run."""
