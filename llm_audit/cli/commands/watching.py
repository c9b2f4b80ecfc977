"""`llm-audit calls --watch`: which calls come in, and how they end."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli.exits import say
from llm_audit.errors import UnavailableError
from llm_audit.ids import EPOCH, created_at
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.pipelines import Pipeline
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from llm_audit.documents import LLMCall
    from llm_audit.queries.repository import SyncLLMCallRepository

POLL_SECONDS = 1.0
LATE = timedelta(minutes=1)  # a call's id is made when it starts, its document when it is shipped
FOLLOWED_MAX = 10_000  # calls that run, or have come in of late: the newest

_DATES = ("start_date", "end_date")
_KNOWN_AT_THE_END = ("status", "tool")  # a running call may come to match these
_TELLS_THE_TIME = "^[0-9a-f]{8}-[0-9a-f]{4}-7"  # a UUIDv7


class Watch:
    """The calls that match filters, from when this was made on.

    A running call is followed until it ends, however long that takes and whatever the filters say
    of its end. Time is the server's, or that of the newest call where that is behind.
    """

    def __init__(self, questions: "SyncLLMCallRepository", filters: CallFilters) -> None:
        """Take note of the calls that there are.

        Args:
            questions: Whom to ask.
            filters: Which of them are wanted.
        """
        self._questions = questions
        self._wanted = condition(_without(filters, *_DATES))
        self._at_start = _without(filters, *_DATES, *_KNOWN_AT_THE_END)
        self._until = self._now()
        running = condition({**self._at_start, "status": LLMCallStatusEnum.PENDING})
        self._seen = self._statuses(running) | self._recent()

    def news(self) -> "list[LLMCall]":
        """Return the calls that have come in since, and those that have ended, oldest first."""
        from llm_audit.queries.questions import calls

        until = self._now()
        running = [name for name, status in self._seen.items() if _runs(status)]
        now = self._statuses({"_id": {"$in": running}}) | self._recent()
        changed = [name for name, status in now.items() if self._seen.get(name) != status]
        found = []
        if changed:
            wanted = self._wanted | {"_id": {"$in": changed}}
            pipeline: Pipeline = [{"$match": wanted}, {"$sort": {"_id": 1}}]
            found = self._questions.ask(calls(pipeline, with_content=False))
        self._seen = now
        self.note(found)
        self._until = max(self._until, until)  # the clock of another member may be behind
        return found

    def note(self, calls: "Iterable[LLMCall]") -> None:
        """Take calls for seen that are shown otherwise."""
        self._seen |= {call.id: call.status for call in calls}

    def _now(self) -> datetime:
        """Return the server's time, or that of the newest call where that is behind."""
        from llm_audit.queries.steps import rows
        from llm_audit.store.answers.plain_errors import plain_errors
        from llm_audit.store.connection import server_time

        ours = condition({"start_date": EPOCH})["_id"] | {"$regex": _TELLS_THE_TIME}
        newest: Pipeline = [{"$match": {"_id": ours}}, {"$sort": {"_id": -1}}, {"$limit": 1}]
        calls = self._questions.ask(rows([*newest, {"$project": {"_id": 1}}], dict))
        with plain_errors(get_settings()):
            by_server = server_time(self._questions.collection.database)
        by_id = created_at(calls[0]["_id"]) if calls else None
        return min(by_server, by_id) if by_id else by_server

    def _recent(self) -> dict[str, Any]:
        """Return how the calls stand that may have come in since the last look."""
        return self._statuses(condition({**self._at_start, "start_date": self._until - LATE}))

    def _statuses(self, wanted: dict[str, Any]) -> dict[str, Any]:
        from llm_audit.queries.steps import rows

        newest: Pipeline = [{"$match": wanted}, {"$sort": {"_id": -1}}, {"$limit": FOLLOWED_MAX}]
        found = rows([*newest, {"$project": {"status": 1}}], dict)
        return {str(call["_id"]): call.get("status") for call in self._questions.ask(found)}


def news_forever(watch: Watch) -> "Iterator[list[LLMCall]]":
    """Yield what comes in, until Ctrl-C; wait where MongoDB is away, and say so once."""
    is_away = False
    while True:
        time.sleep(POLL_SECONDS)
        try:
            calls = watch.news()
        except UnavailableError as error:
            if not is_away:
                say(f"{error} Watching goes on.")
            is_away = True
            continue
        is_away = False
        yield calls


def _without(filters: CallFilters, *names: str) -> CallFilters:
    return cast("CallFilters", {name: filters[name] for name in filters if name not in names})  # type: ignore[literal-required]


def _runs(status: object) -> bool:
    return status == LLMCallStatusEnum.PENDING
