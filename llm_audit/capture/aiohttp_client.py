"""The hook on aiohttp."""

from llm_audit.capture.patches import Hook

HOOKS: tuple[Hook, ...] = ()
