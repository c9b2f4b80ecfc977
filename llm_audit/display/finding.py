"""The calls that say something, each with the places where they do."""

from collections.abc import Callable
from typing import NamedTuple, Unpack

from llm_audit.call import SAID
from llm_audit.display.passages import Passage, find_passages
from llm_audit.documents import LLMCall
from llm_audit.ids import Id
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.questions.calls import WITHOUT_CONTENT
from llm_audit.queries.questions.finding import SEARCH_BATCH, searched
from llm_audit.queries.steps import Document, Steps
from llm_audit.settings import get_settings


class Hit(NamedTuple):
    """A call that says something, without all else that it says."""

    call: LLMCall
    passages: list[Passage]


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
        said = {name: document.pop(name) for name in SAID if name in document}
        take(Hit(LLMCall.model_validate(document), find_passages(said, text, around=around)))

    return searched([*pipeline, fields], hit, batch_size=batch_size)
