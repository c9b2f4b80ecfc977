"""What a provider answered: message, usage, finish reason, id and model, and all the rest.

Works on the SDKs' response objects and on the same as plain dicts, and never raises: what is
missing or empty is left out.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from llm_audit.errors import let_through
from llm_audit.providers.error_bodies import ERROR_FIELDS, error_in
from llm_audit.providers.fields import LISTS, at, fields_of, first_at, native, spelled
from llm_audit.providers.received import plain, received
from llm_audit.providers.shape import Shape
from llm_audit.providers.shapes import ANY, SHAPE_BY_API, shape_of
from llm_audit.providers.usage import COUNT_SPELLINGS
from llm_audit.providers.vectors import (
    count_bare_vectors,
    count_vectors,
    exclusion,
    may_have_vectors,
    without_vectors,
)
from llm_audit.providers.whole import BESIDE, NO_OBJECT, OURS, VECTORS, extra_of

# What prices ask for of what LiteLLM keeps beside the fields. The rest, where it asked and with
# what, is nobody's to write down.
_OF_LITELLM = ("custom_llm_provider", "response_cost")
_COST_HEADER = "llm_provider-x-litellm-response-cost"
_UNDERSTOOD = frozenset({"api", "response_message", *ERROR_FIELDS})  # any of them is enough


def read_response(
    response: object,
    given: Mapping[str, Any] | None = None,
    *,
    embedding_vectors: bool = False,
    problems: list[str] | None = None,
) -> dict[str, Any]:
    """Read out of a provider's response what a call's outcome records.

    Args:
        response: An SDK's response object, or the response body as a dict. Known are OpenAI
            (chat completions, Responses, legacy completions, embeddings) and all who speak it,
            Anthropic, Gemini, Bedrock (Converse and InvokeModel), Cohere, Mistral, Ollama,
            watsonx and Aleph Alpha, and messages of LangChain.
        given: As `fields_in` takes it.
        embedding_vectors: Whether they are kept, too.
        problems: As `fields_in` takes it.

    Returns:
        What `fields_in` returns.
    """
    return fields_in(taken(response, embedding_vectors=embedding_vectors), given or {}, problems)


def taken(response: object, *, embedding_vectors: bool) -> dict[str, Any]:
    """Return what a response holds, taken out of the object that a client made of it.

    Args:
        response: What `read_response` takes.
        embedding_vectors: Whether they are kept, too.

    Returns:
        Those of these that there are:
        `body`: what the API sent, plain values as far as it can be read.
        `api`: which row of the table of shapes it is, if the body might not tell.
        `ours`: what is to be said of it beside the body, see `whole`.
        `message`, `note`, `mistake`: see `Received`.
        `hidden`: what LiteLLM keeps beside the fields, as far as prices ask for it.
    """
    if type(response) is dict and not may_have_vectors(response):
        return {"body": response}
    if issubclass(type(response), BaseModel) and not may_have_vectors(vars(response)):
        body = native(response)
        if type(body) is dict and not may_have_vectors(body):
            hidden = _hidden_by_litellm(response)
            return {"body": body, "hidden": hidden} if hidden else {"body": body}
    came = received(response)
    outside = fields_of(came.value)
    shape = shape_of(outside)
    vectors = {} if embedding_vectors or not shape.vectors else count_vectors(outside, shape)
    ours: dict[str, Any] = {VECTORS: vectors} if vectors else {}
    if came.beside:
        ours[BESIDE] = list(came.beside)
    body = came.value
    if type(body) is not dict:
        body = plain(body, exclusion(outside, shape) if vectors else None)
    if type(body) is not dict:
        shape, ours, body = ANY, {**ours, NO_OBJECT: body}, {}
    elif vectors:
        body = without_vectors(body, shape)
    found = {
        "body": body,
        "api": shape.api,
        "ours": ours,
        "message": came.message,
        "note": came.note,
        "mistake": came.mistake,
        "hidden": _hidden_by_litellm(response),
    }
    return {name: value for name, value in found.items() if value}


def taken_of_list(response: list[Any], *, embedding_vectors: bool) -> dict[str, Any]:
    """Return the same of a body that is a list: of vectors, or of answers, as of Hugging Face.

    Args:
        response: As plain values.
        embedding_vectors: Whether they are kept, too.
    """
    first = response[0] if response else None
    if vectors := {} if embedding_vectors else count_bare_vectors(response):
        return {"ours": {VECTORS: vectors}}
    found: dict[str, Any] = {"ours": {NO_OBJECT: response}}
    answer = fields_of(first)
    texts = shape_of(answer).texts if answer else ()
    if said := {name: answer[name] for name in texts if isinstance(answer.get(name), str)}:
        found["message"] = said
    return found


def _hidden_by_litellm(response: Any) -> dict[str, Any]:
    kind = type(response)
    if kind is dict:
        return {}
    try:
        if issubclass(kind, BaseModel):  # pydantic takes long to say that an attribute is missing
            holder = response.__pydantic_private__ or vars(response)
            hidden = fields_of(holder.get("_hidden_params"))
        else:
            hidden = fields_of(getattr(response, "_hidden_params", None))
        headers = fields_of(hidden.get("additional_headers"))
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        return {}
    found = {name: hidden[name] for name in _OF_LITELLM if name in hidden}
    if _COST_HEADER in headers:
        found["additional_headers"] = {_COST_HEADER: headers[_COST_HEADER]}
    return found


def fields_in(
    took: Mapping[str, Any], given: Mapping[str, Any], problems: list[str] | None = None
) -> dict[str, Any]:
    """Return what a call's outcome records of a response.

    Args:
        took: What `taken` returned.
        given: Those of the fields below that are known otherwise and stand instead.
        problems: Is told, in one sentence, of what is no response.

    Returns:
        Those of these fields that were found or given:
        `api`: which row of the table of shapes it is.
        `response_message`: the message, a dict in the API's own shape. An API that answers with a
        list gives `{"role": "assistant", "content": [...]}` (Anthropic) or
        `{"role": "assistant", "output": [...]}` (OpenAI Responses); one without messages gives
        the object that holds the text.
        `other_choices`: with n > 1, the choices after the first, each whole, as the API gave it.
        `finish_reason`: a str, spelled as the provider does.
        `response_id`, `response_model`: str.
        `usage`: what the provider reported, untouched.
        `response_extra`: everything else of the response, and what was given otherwise, see
        `whole`.
        `error_type`, `error_message`, `http_status`: of the error that it holds, see
        `error_bodies`.
        `encoding_notes`: that it could not be read, or not as what it is.
    """
    body = took.get("body", {})
    shape = SHAPE_BY_API.get(took.get("api", "")) or shape_of(body)
    known = dict(given)
    if message := took.get("message"):
        known.setdefault("response_message", message)
    found: dict[str, Any] = {**_read(body, shape), **known}
    extra = extra_of(body, shape, found)
    if ours := took.get("ours"):
        extra[OURS] = {**extra.get(OURS, {}), **ours}
    if extra:
        found["response_extra"] = extra
    if note := took.get("note") or _doubt(found):
        found["encoding_notes"] = [f"response: {note}"]
    if problems is not None and (mistake := took.get("mistake")):
        problems.append(mistake)
    return found


def _doubt(found: Mapping[str, Any]) -> str | None:
    """Say that a response was not understood, of which nothing else would tell."""
    if "response_extra" in found and _UNDERSTOOD.isdisjoint(found):
        return "of no known shape, kept in response_extra"
    return None


def _read(body: dict[str, Any], shape: Shape) -> dict[str, Any]:
    lists = (_items(at(body, path)) for path in shape.answers)
    answers = next((listed for listed in lists if listed), [body])
    if isinstance(answers[0], LISTS) and answers[0]:  # LangChain's, a list for each prompt
        answers = list(answers[0])
    answer = fields_of(answers[0])
    found: dict[str, Any] = {"api": shape.api or None}
    if message := _message(answers[0], answer, shape):
        found["response_message"] = message
        if len(answers) > 1:
            found["other_choices"] = [native(other) for other in answers[1:]]
    found["finish_reason"] = spelled(first_at(body, shape.finish_reason))
    found["response_id"] = spelled(first_at(body, shape.id))
    found["response_model"] = spelled(first_at(body, shape.model))
    found["usage"] = _usage(body, answer, shape)
    answered = "response_message" in found
    found |= error_in(body, shape, found["finish_reason"], answered=answered)
    return {name: value for name, value in found.items() if value is not None}


def _message(given: object, answer: Mapping[str, Any], shape: Shape) -> dict[str, Any] | None:
    """Return the message of an answer, in the API's own shape."""
    for path in shape.message:
        value = at(answer, path) if path else given
        if isinstance(value, LISTS):
            role = answer.get("role")
            is_said = all(map(fields_of, value)) or all(isinstance(one, str) for one in value)
            if is_said and (value or role):
                return {"role": role or "assistant", path: _natives(value)}
        elif isinstance(message := native(value), dict) and message:
            return message
    text = {name: answer[name] for name in shape.texts if isinstance(answer.get(name), str)}
    calls = {name: _natives(found) for name in shape.calls if (found := answer.get(name))}
    return text | calls if text else None


def _usage(body: Mapping[str, Any], answer: Mapping[str, Any], shape: Shape) -> object:
    if (reported := first_at(body, shape.usage)) is not None:
        usage: Any = native(reported)
        if type(usage) is dict:
            return usage
        # not isinstance: a mock may claim any __class__
        return dict(dict.items(usage)) if issubclass(type(usage), dict) else None
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
