"""Calls into files and back: `llm-audit export` and `llm-audit import`."""
