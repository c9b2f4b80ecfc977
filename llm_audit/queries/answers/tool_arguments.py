"""What models ask tools for: read out of answers, in whatever shape they are."""

from collections.abc import Iterator
from typing import Any

from llm_audit.providers.blocks import CALL
from llm_audit.providers.messages import read_answers
from llm_audit.queries.answers.summaries import ToolArguments


def arguments_in(call: dict[str, Any], tool: str) -> Iterator[ToolArguments]:
    """Yield each time that a call's answers ask for a tool.

    Args:
        call: A row of `pipelines.tool_arguments`.
        tool: Its name.
    """
    malformed = call.get("malformed_tool_calls")
    has_malformed = isinstance(malformed, list) and tool in malformed
    for part in (part for answer in read_answers(call) for part in answer):
        if part.type == CALL and part.name == tool:
            yield ToolArguments.model_validate(
                {
                    "call_id": str(call["id"]),
                    "created_at": call.get("created_at"),
                    "status": str(call.get("status")),
                    "arguments": part.arguments,
                    "is_malformed": has_malformed and not isinstance(part.arguments, dict),
                }
            )
