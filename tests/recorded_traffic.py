"""What real providers sent and received, where it lies beside the project."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TRAFFIC = Path(__file__).parents[2] / "shared" / "traffic"
FILES = [TRAFFIC / f"{name}.jsonl" for name in ("openllmetry", "pydantic-ai", "logfire")]
# Our argument, and the names under which the APIs have it in the body of a request.
ARGUMENTS = {
    "messages": ("messages", "contents", "chat_history"),
    "system_prompt": ("system", "instructions", "systemInstruction"),
    "input": ("input", "prompt", "texts"),
    "tools": ("tools", "functions"),
    "tool_choice": ("tool_choice", "toolConfig", "function_call"),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_completion_tokens"),
}
TAKEN = {*ARGUMENTS, "model", "provider", "metadata", "tags", "user_id"}


def recorded_calls() -> Iterator[dict[str, Any]]:
    """Yield the calls of all files; bodies hold U+2028, so lines are split by hand."""
    for file in FILES:
        yield from (json.loads(line) for line in file.read_text("utf-8").split("\n") if line)


def split(call: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request as our arguments, and what is left of it as other parameters."""
    request = call["request"]
    rest = dict(request) if isinstance(request, dict) else {"body": request}
    start = {"provider": call["provider"], "model": rest.pop("model", call["model"])}
    for argument, spellings in ARGUMENTS.items():
        for spelling in spellings:
            is_array = argument in {"messages", "tools"}
            if argument not in start and isinstance(
                rest.get(spelling), list if is_array else object
            ):
                value = rest.pop(spelling, None)
                if value is not None:
                    start[argument] = value
    return start, {f"{key}_" if key in TAKEN else key: value for key, value in rest.items()}
