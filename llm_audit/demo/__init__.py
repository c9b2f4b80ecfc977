"""`python -m llm_audit.demo`: the whole path on this machine, with a provider that is ours."""
