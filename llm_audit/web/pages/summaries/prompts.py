"""System prompts beside each other: how the calls of each went, and what was changed in it."""

from collections.abc import Sequence
from itertools import pairwise

from llm_audit.queries.answers.summaries import PromptSummary
from llm_audit.queries.pipelines.prompts import MOST_PROMPTS, NEWEST
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.over_time import USUAL

_SHOWN = 100


async def page(asked: Asked) -> Page:
    """Show system prompts, that of the most calls first."""
    rows = await asked.calls.prompt_summary(**asked.filters(since=USUAL))
    before = _before(rows)
    view = {
        "shown": [
            (row, asked.same("calls", prompt_of=row.last_id), before.get(row.last_id))
            for row in rows[:_SHOWN]
        ],
        "is_cut": len(rows) == MOST_PROMPTS or sum(row.calls for row in rows) >= NEWEST,
        "newest": NEWEST,
    }
    return Page("summaries/prompts", "Prompts", {"rows": rows}, view)


def _before(rows: Sequence[PromptSummary]) -> dict[str, str]:
    """Return for each prompt, by its newest call, that of the prompt that was new before it."""
    told = [row for row in rows if row.beginning is not None and row.first_seen is not None]
    told.sort(key=lambda row: (row.first_seen, row.first_id))
    return {later.last_id: earlier.last_id for earlier, later in pairwise(told)}
