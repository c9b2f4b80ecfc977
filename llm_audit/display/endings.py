"""How a call ended and why, in a sentence."""

from llm_audit.call import LLMCallStatusEnum
from llm_audit.display import figures
from llm_audit.display.attempts import CAUSES
from llm_audit.queries.steps import Document

_VERBS = {
    LLMCallStatusEnum.SUCCESS: "succeeded",
    LLMCallStatusEnum.ERROR: "failed",
    LLMCallStatusEnum.TIMEOUT: "timed out",
    LLMCallStatusEnum.CANCELLED: "was cancelled",
    LLMCallStatusEnum.INCOMPLETE: "ended without an outcome",
    LLMCallStatusEnum.ABANDONED: "was never ended by whoever made it",
}
_WHY = {
    "exception": "An exception left the block around it.",
    "response": "The provider answered with an error.",
    "caller": "The program that made it said so.",
}
_FINISHED = {
    "length": "The answer was cut off at the limit of tokens.",
    "max_tokens": "The answer was cut off at the limit of tokens.",
    "MAX_TOKENS": "The answer was cut off at the limit of tokens.",
    "content_filter": "A filter of the provider kept back the answer, or the rest of it.",
    "SAFETY": "A filter of the provider kept back the answer, or the rest of it.",
    "refusal": "The model refused to answer.",
}


def how_a_call_ended(call: Document) -> str:
    """Say how a call ended, after how long, and what ended it.

    Args:
        call: As `LLMCall.model_dump` gives it.
    """
    status = call.get("status")
    if status == LLMCallStatusEnum.PENDING:
        return "It still runs, as far as is known."
    took = call.get("latency_ms")
    after = "" if took is None else f" after {figures.duration(took)}"
    said = f"It {_VERBS.get(status, f'ended as {status}')}{after}."  # type: ignore[arg-type]
    cause = call.get("ended_by")
    if status != LLMCallStatusEnum.SUCCESS and cause:
        named = f"Ended by {str(cause).replace('_', ' ')}."
        return f"{said} {CAUSES.get(cause) or _WHY.get(cause) or named}"
    finished = _FINISHED.get(str(call.get("finish_reason")))
    return f"{said} {finished}" if finished else said
