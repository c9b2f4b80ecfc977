"""The files of a batch: what was asked, a line each, and what became of it, in any order.

OpenAI's are also those of Azure, Groq and Mistral; Gemini's also those of Vertex, which repeat the
request, as Bedrock's do. See
https://platform.openai.com/docs/guides/batch
https://docs.claude.com/en/docs/build-with-claude/batch-processing
https://ai.google.dev/gemini-api/docs/batch-api
https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from llm_audit.errors import let_through
from llm_audit.providers.errors import is_refused
from llm_audit.wire.assembly.pieces import fields, items

OPENAI, ANTHROPIC, GEMINI, BEDROCK = "openai", "anthropic", "gemini", "bedrock"
_CUSTOM_IDS = ("custom_id", "key", "recordId")
_TIMES = ("created", "created_at")  # of an answer, in seconds of the epoch
_MESSAGES_PATH = "/v1/messages"


class Asked(NamedTuple):
    """One request of a batch.

    Attributes:
        custom_id: By which its answer names it.
        body: Of the request.
        path: That it is for; None if the line does not say it.
    """

    custom_id: str
    body: dict[str, Any]
    path: str | None = None


class Ended(NamedTuple):
    """What became of one request.

    Attributes:
        provider: In whose form it is told.
        custom_id: As of `Asked`; "" if there is none.
        own_id: That nothing else of this provider has; None if there is none.
        at: When it was answered, in seconds of the epoch, if it is told.
        status: Of HTTP, if there is one.
        answer: The body of what was answered; None if nothing was.
        error: What went wrong, if that is told beside the answer or instead of one.
        request: As the line repeats it.
    """

    provider: str
    custom_id: str
    own_id: str | None
    at: float | None
    status: int | None = None
    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    request: dict[str, Any] | None = None

    @property
    def is_refused(self) -> bool:
        """Whether nothing came of it."""
        return self.error is not None or self.answer is None or is_refused(self.status)


def is_of_a_batch(line: object) -> bool:
    """Tell whether a line is of a batch: what became of a request, or one."""
    return ended_in(line) is not None or any(True for _ in asked_in(line))


def asked_in(line: object) -> Iterator[Asked]:
    """Yield the requests in a line; the body of Anthropic's submission has all of them."""
    line = fields(line)
    for one in items(line.get("requests")):
        yield from asked_in(one)
    custom_id = _custom_id(line)
    body = line.get("body") or line.get("params") or line.get("request") or line.get("modelInput")
    if custom_id and isinstance(body, dict):
        path = line.get("url") or (_MESSAGES_PATH if "params" in line else None)
        yield Asked(custom_id, body, path if isinstance(path, str) else None)


def ended_in(line: object) -> Ended | None:
    """Return what became of a request; None if a line does not tell."""
    line = fields(line)
    custom_id = _custom_id(line)
    if isinstance(result := line.get("result"), dict) and "type" in result:
        return _of_anthropic(custom_id, result)
    if "modelInput" in line:
        return _of_bedrock(custom_id, line)
    if "custom_id" in line and line.keys() & {"response", "error"}:
        return _of_openai(custom_id, line)
    if line.keys() & {"response", "error"} and line.keys() & {"key", "request", "processed_time"}:
        return _of_gemini(custom_id, line)
    return None


def _custom_id(line: Mapping[str, Any]) -> str:
    return next((str(line[name]) for name in _CUSTOM_IDS if line.get(name)), "")


def _of_openai(custom_id: str, line: Mapping[str, Any]) -> Ended:
    response = fields(line.get("response"))
    answer = response.get("body")
    status = response.get("status_code")
    answered = answer if isinstance(answer, dict) else None
    return Ended(
        OPENAI,
        custom_id,
        _text(line.get("id")) or _text(fields(answered).get("id")),
        next(filter(None, (_seconds(fields(answered).get(name)) for name in _TIMES)), None),
        status if type(status) is int else None,
        answered,
        _error(line.get("error")) or (None if answered else _error(answer)),  # a proxy's page, say
    )


def _of_anthropic(custom_id: str, result: Mapping[str, Any]) -> Ended:
    message, error = result.get("message"), result.get("error")
    answer = message if isinstance(message, dict) else None
    if answer is None and isinstance(error, dict):
        own_id = _text(error.get("request_id"))
        return Ended(ANTHROPIC, custom_id, own_id, None, None, error, _inner(error))
    own_id = _text(fields(answer).get("id"))
    ended = None if answer else {"type": _text(result.get("type")) or "unknown"}
    return Ended(ANTHROPIC, custom_id, own_id, None, None, answer, ended)


def _of_gemini(custom_id: str, line: Mapping[str, Any]) -> Ended:
    answer = line.get("response")
    request = line.get("request")
    error = _error(line.get("error"))
    if not error and isinstance(status := line.get("status"), str) and status:  # Vertex
        error = {"message": status}
    return Ended(
        GEMINI,
        custom_id,
        _text(fields(answer).get("responseId")),
        _instant(line.get("processed_time") or fields(answer).get("createTime")),
        None,
        answer if isinstance(answer, dict) and answer else None,
        error,
        request if isinstance(request, dict) else None,
    )


def _of_bedrock(custom_id: str, line: Mapping[str, Any]) -> Ended:
    answer, request = line.get("modelOutput"), line["modelInput"]
    error = _error(line.get("error"))
    if error:
        names = {"errorCode": "code", "errorMessage": "message"}
        error = {names.get(name, name): value for name, value in error.items()}
    return Ended(
        BEDROCK,
        custom_id,
        _text(fields(answer).get("id")),
        next(filter(None, (_seconds(fields(answer).get(name)) for name in _TIMES)), None),
        None,
        answer if isinstance(answer, dict) else None,
        error,
        request if isinstance(request, dict) else None,
    )


def _inner(error: dict[str, Any]) -> dict[str, Any]:
    """Return what Anthropic wraps in an object that says only that it is an error."""
    inner = error.get("error")
    return inner if isinstance(inner, dict) else error


def _error(said: object) -> dict[str, Any] | None:
    if isinstance(said, dict):
        return said or None
    return {"message": said} if isinstance(said, str) and said else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: object) -> float | None:
    is_time = type(value) in (int, float) and 0 < value < 2**32  # type: ignore[operator]
    return float(value) if is_time else None  # type: ignore[arg-type]


def _instant(value: object) -> float | None:
    """Return a time in seconds of the epoch; one without an offset is UTC, wherever this runs."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        let_through(error)
        return None
