"""How a request becomes an answer: made beside the event loop, and given up with its tab."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from llm_audit.display.json_lines import json_line, json_row
from llm_audit.errors import LLMAuditError, TookTooLongError, UnavailableError, UsageError
from llm_audit.queries.repository import LLMCallRepository
from llm_audit.settings import get_settings
from llm_audit.store.loops import client_of_loop
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.rendering import rendered
from llm_audit.web.routes import Answering

Tenant: TypeAlias = Mapping[str, str]
Scope: TypeAlias = Tenant | Callable[[Request], Tenant | Awaitable[Tenant]]

LONGEST_SECONDS = 30  # that MongoDB works on one question of a page
SUMS_AT_ONCE = 4
_LOG = logging.getLogger("llm_audit.web")
_RETRY_SECONDS = 5
_LEFT = 499  # what proxies log for a request whose browser has gone; nobody gets it
_PIECE = 2**16  # characters of an answer that is sent piece by piece
_SPANS = ("1h", "24h", "7d", "30d")
_OURS = {"error": "This is a mistake in llm-audit. The server's log says more: please report it."}


class Answers:
    """Answers requests for pages.

    Args:
        scope: Whose calls are seen, as `create_app` takes it.
        annotate: Whether the page of a call takes scores and tags.
    """

    def __init__(self, scope: Scope | None, *, annotate: bool) -> None:
        self._scope = scope
        self._annotate = annotate
        # of each event loop, as one app may serve several
        self._sums = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]()

    async def answer(self, request: Request, *, page: Answering) -> Response:
        """Answer a request for a page.

        Args:
            request: For it.
            page: What makes it.
        """
        settings = get_settings()
        tenant = self._scope(request) if callable(self._scope) else self._scope
        if inspect.isawaitable(tenant):
            tenant = await tenant
        try:
            calls = client_of_loop(settings)[settings.database][settings.collection]
            repository = LLMCallRepository(calls).within(LONGEST_SECONDS)
            if self._scope is not None:
                repository = bound(repository, tenant)
            asked = Asked(request, repository, is_bound=self._scope is not None)
            asked.target = settings.target_name("thread")
        except UsageError as error:
            _LOG.error("Nobody's calls are shown: %s", error)
            return PlainTextResponse("It is not known whose calls these would be.\n", 403)
        except LLMAuditError as error:  # where nothing can be asked, no page of ours can be drawn
            why = str(error) if self._scope is None else _told_to_a_tenant(error)
            return PlainTextResponse(f"{why}\n", 503)
        asked.annotates = self._annotate
        return await _unless_left(request, partial(self._made, asked, page))

    async def _made(self, asked: Asked, page: Answering) -> Response:
        try:
            asked.check()
            await asked.look_up()
            if asked.is_part:
                # many tabs at once do not starve an app around this one
                loop = asyncio.get_running_loop()
                async with self._sums.setdefault(loop, asyncio.Semaphore(SUMS_AT_ONCE)):
                    return await _drawn(asked, await page(asked))
            return await _drawn(asked, await page(asked))
        except LLMAuditError as error:
            return await _drawn(asked, _wrong(asked, error))
        except Exception as error:  # noqa: BLE001  (whatever it is, the page says no more of it)
            _LOG.exception("A page could not be made (%s).", type(error).__name__)
            return await _drawn(asked, _error(asked, "This page could not be made", _OURS, 500))


def bound(calls: LLMCallRepository, tenant: Any) -> LLMCallRepository:
    """Return whom to ask about the calls of a tenant.

    Raises:
        UsageError: What is given is none.
    """
    if not isinstance(tenant, Mapping) or not tenant or set(tenant) - {"company_id", "user_id"}:
        raise UsageError("scope has to name a company_id, a user_id or both.")
    if "company_id" in tenant:
        calls = calls.for_company(tenant["company_id"])
    return calls.for_user(tenant["user_id"]) if "user_id" in tenant else calls


async def _unless_left(request: Request, make: Callable[[], Awaitable[Response]]) -> Response:
    """Make an answer, but give it up when its tab is closed: MongoDB then ends its work on it."""
    if request.method not in ("GET", "HEAD"):  # what a form says is read from the same channel
        return await make()
    making = asyncio.ensure_future(make())
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((making, leaving), return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            return making.result()
        return Response(status_code=_LEFT)
    finally:
        making.cancel()
        leaving.cancel()
        await asyncio.wait((making, leaving))


async def _left(request: Request) -> None:
    """Return when nobody waits for the answer any more."""
    has_ended = False
    while (message := await request.receive())["type"] != "http.disconnect":
        if has_ended:  # what stands in front says the same for ever, and never tells of the end
            await asyncio.Event().wait()
        has_ended = not message.get("more_body", False)


async def _drawn(asked: Asked, page: Page | Response) -> Response:
    return page if isinstance(page, Response) else await asyncio.to_thread(_response, asked, page)


def _response(asked: Asked, page: Page) -> Response:
    if asked.one("format") == "json":
        said = {name: _in_json(value) for name, value in page.data.items()}
        text = json_line(said)
        if len(text) > _PIECE:
            return StreamingResponse(_in_pieces(text), page.status, media_type="application/json")
        return Response(text, page.status, media_type="application/json")
    values = {"asked": asked, "page": page, "took_ms": asked.took_ms, **page.data, **page.view}
    headers = dict(page.headers)
    if "retry_seconds" in values:
        headers["retry-after"] = str(_RETRY_SECONDS)
    is_alone = asked.is_part and not asked.is_fragment
    template = "part" if is_alone else page.template
    return HTMLResponse(rendered(template, values), page.status, headers)


def _in_pieces(text: str) -> Iterator[str]:
    """Yield a text piece by piece, so that others have their turn while it is compressed."""
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _in_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return json_row(value)
    if isinstance(value, dict):
        return {name: _in_json(one) for name, one in value.items()}
    return [_in_json(one) for one in value] if isinstance(value, list | tuple) else value


def _wrong(asked: Asked, error: LLMAuditError) -> Page:
    """Return the page of an error, which names the fix."""
    said: dict[str, Any] = {"error": _told_to_a_tenant(error) if asked.is_bound else str(error)}
    if isinstance(error, UnavailableError):
        view = {} if asked.is_part else {"retry_seconds": _RETRY_SECONDS}
        return _error(asked, "MongoDB cannot be asked", said, 503, view)
    if isinstance(error, TookTooLongError):
        longest = min(LONGEST_SECONDS, get_settings().query_timeout_seconds or LONGEST_SECONDS)
        said["error"] = (
            f"MongoDB may work on a question for {longest:g} s, and was not done with this one. "
            "Ask about a shorter time, or about fewer calls, by a filter."
        )
        given = asked.one("since")
        shorter = _SPANS[: _SPANS.index(given)] if given in _SPANS else _SPANS
        links = [(span, asked.page_again(since=span, until=None)) for span in shorter]
        return _error(asked, "This takes too long", said, 503, {"shorter": links})
    if isinstance(error, UsageError):
        return _error(asked, "This cannot be asked", said, 400)
    return _error(asked, "Something is set wrongly", said, 500)


def _told_to_a_tenant(error: LLMAuditError) -> str:
    """Return what is said to whom the database is none of his business: not where it is, say."""
    if isinstance(error, UsageError):  # of what was asked
        return str(error)
    _LOG.error("A tenant's page could not be made: %s", error)
    return "The calls cannot be read at present. Whoever runs this viewer finds why in its log."


def _error(
    asked: Asked,
    title: str,
    said: Mapping[str, Any],
    status: int,
    view: Mapping[str, Any] | None = None,
) -> Page:
    """Return the page of an error; of a part, what stands in its place."""
    return Page("parts/error" if asked.is_part else "error", title, said, view or {}, status)
