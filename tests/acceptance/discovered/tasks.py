"""Tasks of no app in particular."""

from celery import shared_task

from llm_audit import LLMLogger


@shared_task
def analyze_discovered() -> str:
    """Make one call."""
    call_id = LLMLogger.start(model="gpt-4", messages=[])
    LLMLogger.complete(call_id)
    return str(call_id)
