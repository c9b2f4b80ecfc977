"""Where something was said."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Unpack

from llm_audit.call import SAID
from llm_audit.errors import UsageError
from llm_audit.ids import Id
from llm_audit.queries.filters import CallFilters, beginning, checked_limit, condition
from llm_audit.queries.pipelines.stages import Pipeline, if_

SEARCH_SPAN = timedelta(days=7)
SEARCH_DEPTH = 10  # lists and objects in each other: the arguments in a Bedrock message begin at 6
SEARCH_MAX_CHARACTERS = 1000
COUNTED_MAX = 1_000


def search(
    text: str,
    *,
    text_index: bool = False,
    limit: int | None = 100,
    after: Id | None = None,
    **filters: Unpack[CallFilters],
) -> Pipeline:
    """Which calls said this, newest first?

    Every text in the system prompt, the messages, the input and every choice of the response is
    looked at, whatever the provider's shape, down to 10 lists and objects in each other; what is in
    GridFS is not, and is not searched. Without a text index, which makes recording expensive, the
    calls of the time range are read one by one: bound it with `maxTimeMS`.

    Args:
        text: What has to be in one of the texts, in capitals or not; nothing in it is special.
        text_index: Look its words up in the index that the setting `text_index` creates: only whole
            words are found, and no time range is needed.
        limit: How many calls at the most; None for all.
        after: Only calls older than the one with this id.
        **filters: See `CallFilters`. Without `start_date` and `text_index` it is a week before
            `end_date`, or now.

    Returns:
        Stages whose rows are whole calls. Index: that of a filter's field, else _id; or every_word.

    Raises:
        UsageError: An argument is wrong.
    """
    _pattern(text)
    checked_limit(limit)
    condition(filters)  # before anything is reckoned with its dates
    if filters.get("start_date") is None and not text_index:
        filters["start_date"] = beginning(SEARCH_SPAN, filters.get("end_date"))
    return [
        {"$match": condition(filters, after=after) | (_words_of(text) if text_index else {})},
        {"$sort": {"_id": -1}},
        {"$match": {"$expr": _says([f"${name}" for name in SAID], _pattern(text), SEARCH_DEPTH)}},
        *([] if limit is None else [{"$limit": limit}]),
    ]


def read_back(search: Pipeline, most: int, shown: Iterable[str]) -> Pipeline:
    """Which are the newest calls that a search looks at, and which of them say it?

    Args:
        search: What `search` returned.
        most: How many calls are read.
        shown: The fields that are shown of those that say it.

    Returns:
        Stages whose rows are `{_id, created_at, says}` of every call that was read, with `shown` of
        those that say it. Index: that of `search`.
    """
    matching, newest_first, saying = search[:3]
    says = {"says": saying["$match"]["$expr"]}
    told = {name: if_("$says", f"${name}", "$$REMOVE") for name in shown if name != "_id"}
    return [
        matching,
        newest_first,
        {"$limit": most},
        {"$set": says},
        {"$project": {**told, "created_at": 1, "says": 1}},
    ]


def not_searched(search: Pipeline, since: Id | None = None) -> Pipeline:
    """How many of the calls that a search looks at have content in GridFS, which it does not see?

    Args:
        search: What `search` returned.
        since: The oldest call that was looked at; None if all were.

    Returns:
        Stages that give one document, none if there is no such call: `{calls}`, at most one more
        than `COUNTED_MAX`. Index: media_newest.
    """
    looked_at = {name: wanted for name, wanted in search[0]["$match"].items() if name != "$text"}
    bound = [] if since is None else [{"_id": {"$gte": since}}]
    return [
        {"$match": {"$and": [{"media": {"$exists": True}}, looked_at, *bound]}},
        {"$limit": COUNTED_MAX + 1},
        {"$count": "calls"},
    ]


def _says(parts: Any, pattern: str, depth: int) -> dict[str, Any]:
    """Return the test for a list in which a text says it, or something in one of its parts does.

    Every part is looked at where it is and once: what MongoDB joins to one list, it copies again
    for each part that it adds.
    """
    part = f"$$at_{depth}"
    text = if_({"$eq": [{"$type": part}, "string"]}, part, "")
    matches = {"$regexMatch": {"input": text, "regex": pattern, "options": "i"}}
    values = {"$map": {"input": {"$objectToArray": part}, "as": "pair", "in": "$$pair.v"}}
    below = {
        "$switch": {
            "branches": [
                {"case": {"$isArray": part}, "then": part},
                {"case": {"$eq": [{"$type": part}, "object"]}, "then": values},
            ],
            "default": [],
        }
    }
    says = matches if not depth else {"$or": [matches, _says(below, pattern, depth - 1)]}
    return {"$anyElementTrue": {"$map": {"input": parts, "as": part[2:], "in": says}}}


def _words_of(text: str) -> dict[str, Any]:
    """Return the condition that a call holds all words of a text; MongoDB tells what a word is."""
    words = re.findall(r'[^\s"\\]+', text)
    return {"$text": {"$search": " ".join(f'"{word}"' for word in words)}}


def _pattern(text: object) -> str:
    """Return the regular expression that finds a text as it is."""
    if not isinstance(text, str) or not 0 < len(text) <= SEARCH_MAX_CHARACTERS or "\0" in text:
        raise UsageError(
            f"text has to be a str of 1 to {SEARCH_MAX_CHARACTERS:,} characters, none of them NUL, "
            f"not {text!r:.50}."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("text holds half a surrogate pair, which no call can.") from None
    return re.escape(text)
