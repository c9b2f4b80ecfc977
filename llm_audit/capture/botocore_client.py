"""The hook on botocore."""

from llm_audit.capture.patches import Hook

HOOKS: tuple[Hook, ...] = ()
