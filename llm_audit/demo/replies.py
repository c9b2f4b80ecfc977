"""What the demo's provider answers: a pure function of the request, so always the same.

| the request                                      | the answer                                |
| ------------------------------------------------ | ----------------------------------------- |
| the last message contains `[429]` or `[500]`     | that HTTP status, with OpenAI's error body |
| the same with `[429 gpt-4]`                      | that status, if that is the model         |
| the last message contains `[hang]`               | none, until the client goes away          |
| tools, no tool result yet, tool_choice not none  | a call of the first tool, or the named one |
| a system message about sentiment                 | positive, negative or neutral             |
| a system message "Classify into: a, b, c"        | the first of these                        |
| a question that is one of `ANSWERS`              | its answer                                |
| anything else                                    | a sentence that repeats the question's top |

`"stream": true` sends the same answer in pieces. A token is four characters.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHARACTERS_PER_TOKEN = 4
HANG = "[hang]"
CREATED = 1_700_000_000  # one second of 2023, so that equal requests have equal answers
QUOTED_CHARACTERS = 60

SENTIMENT_WORDS = {
    "positive": ("love", "great", "fast", "easy"),
    "negative": ("slow", "broken", "missing", "expensive"),
}
ANSWERS = {  # by what the question contains
    "What is missing from our reports?": "One customer says that reports are missing everything "
    "they need, another that the voice channel is missing. Both are worth a call.",
    "Compare Gorgias with": "Zendesk has voice and reports, which Gorgias lacks. Freshdesk has "
    "field service. Gorgias is easier to set up.",
    "What do customers like?": "Macros, support and setup: three of five reviews praise them.",
    "And what do they miss?": "Reports and the voice channel. One of them also finds it expensive.",
    "What should we do first?": "**Reports.** They are missed most, and rivals have them.",
    "Outline a report": "1. Mood\n2. What is liked: macros, support, setup\n3. What is missing",
    "Write the report": "# Reviews of this week\n\nMore like it than not. *Macros* and *support* "
    "are praised; **reports** and the **voice channel** are missed.",
}
ARGUMENTS = {"company_name": "Gorgias", "competitors": ["Zendesk", "Freshdesk"]}
ARGUMENT_BY_TYPE: dict[str, Any] = {
    "string": "example",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
}


@dataclass(frozen=True)
class Refusal:
    """An HTTP status of 400 or more, and the `error` object of its body."""

    status: int
    kind: str
    message: str
    code: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the body as OpenAI writes it: https://platform.openai.com/docs/guides/error-codes."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        return {"error": error}


REFUSALS = {
    "[429]": Refusal(
        429, "requests", "Rate limit reached. Please try again in 20s.", "rate_limit_exceeded"
    ),
    "[500]": Refusal(500, "server_error", "The server had an error while processing your request."),
}


def refusal(request: Mapping[str, Any]) -> Refusal | None:
    """Return how the provider refuses a request, if it does.

    Args:
        request: The body of a chat completion request.
    """
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return Refusal(400, "invalid_request_error", "'messages' has to be a non-empty array.")
    last = _text(messages[-1]).replace(f"[429 {request.get('model')}]", "[429]")
    return next((answer for mark, answer in REFUSALS.items() if mark in last), None)


def hangs(request: Mapping[str, Any]) -> bool:
    """Tell whether a request is never answered."""
    return HANG in _text(request["messages"][-1])


def completion(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `chat.completion` object that answers a request.

    Args:
        request: The body of a chat completion request, which `refusal` does not refuse.
    """
    message = _message(request)
    calls = message.get("tool_calls")
    prompt = _tokens(json.dumps([request["messages"], request.get("tools")]))
    completed = _tokens(json.dumps(calls) if calls else message["content"])
    return {
        "id": f"chatcmpl-{_digest(request)}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if calls else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completed,
            "total_tokens": prompt + completed,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def chunks(answer: Mapping[str, Any], *, include_usage: bool) -> list[dict[str, Any]]:
    """Return the `chat.completion.chunk` objects that a stream of an answer consists of.

    Args:
        answer: A `chat.completion` object.
        include_usage: Whether the request asked for it in `stream_options`.
    """
    choice = answer["choices"][0]
    deltas = [{"role": "assistant", "content": ""}, *_pieces(choice["message"])]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]})
    common = {
        **{name: answer[name] for name in ("id", "created", "model")},
        "object": "chat.completion.chunk",
    }
    stream = [{**common, "choices": [item]} for item in choices]
    if include_usage:
        stream.append({**common, "choices": [], "usage": answer["usage"]})
    return stream


def _pieces(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if not calls:
        return [{"content": word} for word in re.findall(r"\s*\S+\s*", message["content"])]
    deltas = []
    for index, call in enumerate(calls):
        function = call["function"]
        opening = {**call, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [{"index": index, **opening}]})
        arguments = {"function": {"arguments": function["arguments"]}}
        deltas.append({"tool_calls": [{"index": index, **arguments}]})
    return deltas


def _message(request: Mapping[str, Any]) -> dict[str, Any]:
    messages = request["messages"]
    asked_for = _tool_asked_for(request)
    if asked_for is not None:
        call = {
            "id": f"call_{_digest(request)}",
            "type": "function",
            "function": {"name": asked_for["name"], "arguments": _arguments(asked_for)},
        }
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    system = " ".join(_text(message) for message in messages if _role(message) == "system")
    return {"role": "assistant", "content": _reply(system, messages), "refusal": None}


def _tool_asked_for(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tools: list[Mapping[str, Any]] = [tool["function"] for tool in request.get("tools") or ()]
    choice = request.get("tool_choice")
    answered = any(_role(message) == "tool" for message in request["messages"])
    if not tools or answered or choice == "none":
        return None
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return next((tool for tool in tools if tool["name"] == name), tools[0])
    return tools[0]


def _arguments(tool: Mapping[str, Any]) -> str:
    properties = tool.get("parameters", {}).get("properties", {})
    return json.dumps(
        {
            name: ARGUMENTS.get(name, ARGUMENT_BY_TYPE.get(schema.get("type")))
            for name, schema in properties.items()
        }
    )


def _reply(system: str, messages: Sequence[Any]) -> str:
    question = next((_text(item) for item in reversed(messages) if _role(item) == "user"), "")
    if "sentiment" in system.lower():
        for sentiment, words in SENTIMENT_WORDS.items():
            if any(word in question.lower() for word in words):
                return sentiment
        return "neutral"
    if "classify into:" in system.lower():
        return system.partition(":")[2].partition(",")[0].strip()
    for part, answer in ANSWERS.items():
        if part in question:
            return answer
    return f"An answer to: {question.splitlines()[0][:QUOTED_CHARACTERS]}" if question else "Hello."


def _role(message: Any) -> object:
    return message.get("role") if isinstance(message, dict) else None


def _text(message: Any) -> str:
    """Return a message's text, whether its content is a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _digest(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:24]
