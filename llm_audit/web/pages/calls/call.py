"""One call: how it ended and why, what was said, and everything else that is known of it."""

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from starlette.responses import RedirectResponse, Response

from llm_audit.call import SAID, TaskFields
from llm_audit.display.attempts import numbers
from llm_audit.display.endings import how_a_call_ended
from llm_audit.display.facts import DRAWN, facts_of, tool_name
from llm_audit.display.hidden import hidden_in
from llm_audit.display.left_over import left_over
from llm_audit.display.pretty import pretty
from llm_audit.documents import LLMCall
from llm_audit.encoding.moved import without_strangers
from llm_audit.errors import UsageError
from llm_audit.providers.messages import Part
from llm_audit.queries.around import attempts, neighbour
from llm_audit.queries.lookup import Missing, find_call
from llm_audit.queries.steps import Document
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.calls.citations import CITED_MAX, citations_in
from llm_audit.web.drawing.said import LONGEST, Room, exchange_of, reading
from llm_audit.web.guards.forms import cookie_of, new_token, token_of
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page

_LINKED = {  # facts that are ids, and the page of each
    "trace": "trace",
    "session": "session",
    "user": "user",
    "company": "company",
    "parent call": "call",
}
_APART = frozenset(
    ("id", "started", "task", "score", "parts", "tools offered", "took", "tokens", "cost")
)
_DRAWN_HERE = frozenset(
    {
        *("tools", "usage", "cost_details", "attempts", "scores", "annotations", "error_details"),
        *("task", "total_tokens", "tools_called", "malformed_tool_calls", "media", "process_nonce"),
        "cache_write_tokens",
    }
)
_WRITTEN_AS = ("text", "markdown")
_ROWS = 60  # of parameters, tools, attempts, scores, and what is left over
_VALUE = 1_500  # characters of one of them
_PAGE = 12_000  # bytes of all of them together


class Named(NamedTuple):
    """A value with its name.

    Attributes:
        name: What it is called.
        value: As text, as much as there is room for.
        rest: How many characters more it has.
    """

    name: str
    value: str
    rest: int


class Listed(NamedTuple):
    """Values with their names, as many as there is room for, and how many more there are."""

    rows: list[Named]
    left_out: int


async def found_call(asked: Asked, name: str = "id") -> Document | Missing:
    """Return the call that a parameter names, without references that are none of its own.

    Raises:
        UsageError: It names none.
    """
    found = await asked.calls.ask(find_call(asked.required(name, "call")))
    return found if isinstance(found, Missing) else without_strangers(found)


async def page(asked: Asked) -> Page | Response:
    """Show a call, or lead to the one beside it in the list that it was opened from."""
    if (way := asked.one("go")) is not None and way in ("newer", "older"):
        return await _beside(asked, way)
    document = await found_call(asked)
    if isinstance(document, Missing):
        return missing_page(document)
    made = await asyncio.to_thread(_made, document, as_markdown=_written_as(asked) == "markdown")
    known = made["known"]
    view = {
        **made,
        "attempt": await _attempt(asked, known),
        "in_list": bool(asked.given_filters or asked.one("since") or asked.one("until")),
        "edge": asked.one("edge"),
    }
    view["form"] = token = (token_of(asked.request) or new_token()) if asked.annotates else None
    cookie = {"set-cookie": cookie_of(asked.request, token)} if token else {}
    return Page("calls/call", _title(known), {"call": document}, view, headers=cookie)


def _made(document: Document, *, as_markdown: bool) -> dict[str, Any]:
    """Return what the page says; of a call with thousands of messages, that takes a moment."""
    call = LLMCall.model_validate(document)
    known = call.model_dump(exclude=set(SAID))
    known["task"] = dict.fromkeys(TaskFields.model_fields) | (known["task"] or {})
    exchange = exchange_of(document, as_markdown=as_markdown)
    answered = [document.get(name) for name in ("response_message", "other_choices")]
    cited, places = citations_in([*answered, document.get("response_extra")])
    quoted = [Part(role="assistant", type="citations", content=place) for place in places]
    rest = left_over(document, DRAWN | _DRAWN_HERE, [*exchange.parts, *quoted])
    room = Room(10_000, _PAGE, _VALUE)
    tools = known.get("tools") or []
    return {
        "known": known,
        "ending": how_a_call_ended(known),
        "said": exchange,
        "as_markdown": as_markdown,
        "speed": _speed(known),
        "facts": [fact for fact in facts_of(known) if fact[0] not in _APART],
        "linked": _LINKED,
        "cited": cited[:CITED_MAX],
        "more_cited": len(cited) > CITED_MAX,
        "tools": _listed(((tool_name(tool), tool) for tool in tools), len(tools), room),
        "usage": _listed(known["usage"].items(), len(known["usage"]), room),
        "cost_parts": _cost_parts(known["cost_details"]),
        "in_task": [(n, v) for n, v in known["task"].items() if v is not None][:_ROWS],
        "media": known["media"][:_ROWS],
        "error_details": _listed(known["error_details"].items(), len(known["error_details"]), room),
        "scores": known["scores"][-_ROWS:],
        "requests": known["attempts"][:_ROWS],
        "bodies": [Room(1, _VALUE).cut(pretty(one["body"])) for one in known["attempts"][:_ROWS]],
        "hidden": hidden_in(document),
        "rest": _listed(rest.items(), len(rest), room),
        "notes": known["encoding_notes"][:_ROWS],
        "longest": LONGEST,
    }


async def said(asked: Asked) -> Page:
    """Show everything that was said in a call, in order, from one place on."""
    document = await found_call(asked)
    if isinstance(document, Missing):
        return missing_page(document)
    parts = (await asyncio.to_thread(exchange_of, document)).parts
    place = min(asked.count("at"), max(len(parts) - 1, 0))
    read = reading(parts, place, asked.count("from"))
    shown = [block._asdict() | {"media": list(block.media)} for block in read.blocks]
    return Page(
        "calls/call_said",
        f"Said in {document['_id']}",
        {"call_id": document["_id"], "parts": len(parts), "at": place, "said": shown},
        {"read": read},
    )


async def _beside(asked: Asked, way: str) -> Response:
    """Lead to the call that is next to this one in the list; to itself at the end of that."""
    wanted = asked.one("id") or ""
    filters = asked.filters()
    found = await asked.calls.ask(neighbour(wanted, filters, newer=way == "newer"))
    edge = None if found else way
    address = asked.same("call", id=found or wanted, edge=edge)
    return RedirectResponse(address, 303)


async def _attempt(asked: Asked, known: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return which attempt of its task made a call, and of how many."""
    if not known["task_id"]:
        return None
    task = known["task"]
    own = await asked.calls.ask(attempts(known["task_id"]))
    for number, attempt in zip(numbers(own), own, strict=True):
        if attempt.attempt_id == task.get("attempt_id") and attempt.retries == task.get("retries"):
            return number, numbers(own)[-1]
    return None


def _written_as(asked: Asked) -> str:
    given = asked.one("as") or "text"
    if given not in _WRITTEN_AS:
        raise UsageError("as has to be text or markdown.")
    return given


def _title(known: Mapping[str, Any]) -> str:
    return f"{str(known['call_type'] or 'Call').replace('_', ' ').capitalize()} {known['id']}"


def _speed(known: Mapping[str, Any]) -> float | None:
    """Return how many tokens of the answer came in a second, from the first one on."""
    tokens, took = known["completion_tokens"], known["latency_ms"]
    first = known["time_to_first_token_ms"] or 0
    return tokens / (took - first) * 1_000 if tokens and took and took > first else None


def _listed(items: Iterable[tuple[str, Any]], count: int, room: Room) -> Listed:
    rows = []
    for name, value in islice(items, _ROWS):
        if room.is_full:
            break
        rows.append(Named(str(name)[:200], *room.cut(pretty(value))))
    return Listed(rows, count - len(rows))


def _cost_parts(details: Mapping[str, Any]) -> list[tuple[str, float]]:
    numbers_in = ((name, usd) for name, usd in details.items() if type(usd) in (int, float))
    return list(islice(numbers_in, _ROWS))
