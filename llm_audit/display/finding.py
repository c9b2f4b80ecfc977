"""The calls that say something, each with the places where they do."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Unpack

from llm_audit.call import SAID
from llm_audit.display.passages import Passage, find_passages
from llm_audit.documents import LLMCall
from llm_audit.ids import Id
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines.finding import read_back
from llm_audit.queries.questions.calls import WITHOUT_CONTENT
from llm_audit.queries.questions.finding import SEARCH_BATCH, in_gridfs, searched
from llm_audit.queries.steps import Document, Each, Enough, Steps, query_limit_ms
from llm_audit.settings import get_settings


class Hit(NamedTuple):
    """A call that says something, without all else that it says."""

    call: LLMCall
    passages: list[Passage]


class Read(NamedTuple):
    """How far a search has read back.

    Attributes:
        calls: How many calls were read.
        oldest_at: When the oldest of them was made; None if it does not say.
        after: Older ones were not read: the search goes on after this id; None if all were.
        is_whole: Whether all calls of the time were read.
        not_searched: What was not searched in them, each in a sentence.
    """

    calls: int
    oldest_at: datetime | None
    after: str | None
    is_whole: bool
    not_searched: tuple[str, ...]


def find(
    text: str,
    take: Callable[[Hit], object],
    *,
    around: int,
    limit: int,
    after: Id | None = None,
    batch_size: int = SEARCH_BATCH,
    **filters: Unpack[CallFilters],
) -> Steps[tuple[str, ...]]:
    """Hand out the calls that say something, newest first, and return what was not searched.

    Args:
        text: What has to be in one of the texts.
        take: Is called with each hit as it comes.
        around: How many characters before and after it are shown.
        limit: How many calls at the most.
        after: Only calls older than the one with this id.
        batch_size: How many MongoDB sends at once.
        **filters: See `CallFilters`.

    Raises:
        UsageError: An argument is wrong; at once, and not when the steps are carried out.
    """
    indexed = get_settings().text_index
    pipeline = pipelines.search(text, text_index=indexed, limit=limit, after=after, **filters)
    fields = {"$project": WITHOUT_CONTENT["$project"] | dict.fromkeys(SAID, 1)}

    def hit(document: Document) -> None:
        take(_hit(document, text, around))

    return searched([*pipeline, fields], hit, batch_size=batch_size)


def find_back(
    text: str,
    take: Callable[[Hit], object],
    *,
    around: int,
    limit: int,
    most: int,
    patience_ms: int,
    after: Id | None = None,
    **filters: Unpack[CallFilters],
) -> Steps[Read]:
    """Hand out the calls that say something, newest first, until so many were read or found.

    Args:
        text: What has to be in one of the texts.
        take: Is called with each hit as it comes.
        around: How many characters before and after it are shown.
        limit: How many hits are enough.
        most: How many calls are read.
        patience_ms: How long MongoDB may read.
        after: Only calls older than the one with this id.
        **filters: See `CallFilters`.

    Returns:
        How far it has come, so that the next search goes on from there.
    """
    indexed = get_settings().text_index
    search = pipelines.search(text, text_index=indexed, limit=None, after=after, **filters)
    shown = {**WITHOUT_CONTENT["$project"], **dict.fromkeys(SAID)}
    count, hits = 0, 0
    last: Document = {}

    def read(document: Document) -> None:
        nonlocal count, hits, last
        count += 1
        last = {"_id": document["_id"], "created_at": document.get("created_at")}
        if document.pop("says"):
            hits += 1
            take(_hit(document, text, around))
        if hits == limit:
            raise Enough

    stages = read_back(search, most, shown)
    is_over = yield Each(
        stages, read, SEARCH_BATCH, min(patience_ms, query_limit_ms() or patience_ms)
    )
    is_whole = is_over and count < most
    oldest = last.get("_id") if isinstance(last.get("_id"), str) else None
    unseen = yield from in_gridfs(search, None if is_whole else oldest)
    at = last.get("created_at")
    oldest_at = at if isinstance(at, datetime) else None
    return Read(count, oldest_at, None if is_whole else oldest, is_whole, unseen)


def _hit(document: Document, text: str, around: int) -> Hit:
    said = {name: document.pop(name) for name in SAID if name in document}
    return Hit(LLMCall.model_validate(document), find_passages(said, text, around=around))
