"""What a provider answered: message, usage, finish reason, id and model.

Works on the SDKs' response objects and on the same as plain dicts, and never raises: what is
missing, empty or an error inside an HTTP 200 is left out.
"""

from collections.abc import Mapping
from typing import Any

from llm_audit.providers.fields import LISTS, at, fields_of, first_at, native, spelled
from llm_audit.providers.shapes import Shape, shape_of
from llm_audit.providers.usage import COUNT_SPELLINGS


def read_response(response: object) -> dict[str, Any]:
    """Read out of a provider's response what a call's outcome records.

    Args:
        response: An SDK's response object, or the response body as a dict. Known are OpenAI
            (chat completions, Responses, legacy completions, embeddings) and all who speak it,
            Anthropic, Gemini, Bedrock (Converse and InvokeModel), Cohere, Mistral, Ollama,
            watsonx and Aleph Alpha, and messages of LangChain.

    Returns:
        Those of these keys that were found:
        `response_message`: the message, a dict in the API's own shape. An API that answers with a
        list gives `{"role": "assistant", "content": [...]}` (Anthropic) or
        `{"role": "assistant", "output": [...]}` (OpenAI Responses); one without messages gives
        the object that holds the text.
        `other_choices`: with n > 1, the choices after the first, each whole, as the API gave it.
        `finish_reason`: a str, spelled as the provider does.
        `response_id`, `response_model`: str.
        `usage`: what the provider reported, untouched, for `read_usage`.
    """
    body = fields_of(response)
    shape = shape_of(body)
    lists = (_items(body.get(name)) for name in shape.answers)
    answers = next((listed for listed in lists if listed), [response])
    answer = fields_of(answers[0])
    found: dict[str, Any] = {}
    if message := _message(answers[0], answer, shape):
        found["response_message"] = message
        if len(answers) > 1:
            found["other_choices"] = [native(other) for other in answers[1:]]
    reason = spelled(first_at(answer, shape.finish_reason))
    found["finish_reason"] = reason or spelled(first_at(body, shape.finish_reason))
    found["response_id"] = spelled(first_at(body, shape.id))
    found["response_model"] = spelled(first_at(body, shape.model))
    found["usage"] = _usage(body, answer, shape)
    return {name: value for name, value in found.items() if value is not None}


def _message(given: object, answer: Mapping[str, Any], shape: Shape) -> dict[str, Any] | None:
    """Return the message of an answer, in the API's own shape."""
    for path in shape.message:
        value = at(answer, path) if path else given
        if isinstance(value, LISTS):
            role = answer.get("role")
            if all(map(fields_of, value)) and (value or role):
                return {"role": role or "assistant", path: _natives(value)}
        elif isinstance(message := native(value), dict) and message:
            return message
    text = {name: answer[name] for name in shape.texts if isinstance(answer.get(name), str)}
    calls = {name: _natives(found) for name in shape.calls if (found := answer.get(name))}
    return text | calls if text else None


def _usage(body: Mapping[str, Any], answer: Mapping[str, Any], shape: Shape) -> object:
    if (usage := first_at(body, shape.usage)) is not None:
        return usage
    counts = {
        name: value
        for fields in (body, answer)
        for name, value in fields.items()
        if name in COUNT_SPELLINGS
    }
    return counts or None


def _natives(value: object) -> object:
    return [native(item) for item in value] if isinstance(value, LISTS) else native(value)


def _items(value: object) -> list[Any]:
    return list(value) if isinstance(value, LISTS) else []
