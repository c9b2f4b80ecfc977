"""`llm-audit calls --watch`: which calls come in, and how they end."""

import time
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli.connection import Call
from llm_audit.cli.exits import say
from llm_audit.ids import EPOCH, created_at
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from llm_audit.cli.connection import Documents

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

    def __init__(
        self, collection: "Documents", filters: CallFilters, shown: Collection[str]
    ) -> None:
        """Take note of the calls that there are.

        Args:
            collection: Where they come in.
            filters: Which of them are wanted.
            shown: The fields to return of each.
        """
        self._collection = collection
        self._shown = shown
        self._wanted = condition(_without(filters, *_DATES))
        self._at_start = _without(filters, *_DATES, *_KNOWN_AT_THE_END)
        self._until = self._now()
        running = condition({**self._at_start, "status": LLMCallStatusEnum.PENDING})
        self._seen = self._statuses(running) | self._recent()

    def news(self) -> list[dict[str, Any]]:
        """Return the calls that have come in since, and those that have ended, oldest first."""
        until = self._now()
        running = [name for name, status in self._seen.items() if _runs(status)]
        now = self._statuses({"_id": {"$in": running}}) | self._recent()
        changed = [name for name, status in now.items() if self._seen.get(name) != status]
        wanted = self._wanted | {"_id": {"$in": changed}}
        calls = list(self._collection.find(wanted, self._shown).sort("_id", 1)) if changed else []
        self._seen = now | {call["_id"]: call.get("status") for call in calls}
        self._until = max(self._until, until)  # the clock of another member may be behind
        return calls

    def note(self, calls: Iterable[Call]) -> None:
        """Take calls for seen that are shown otherwise."""
        self._seen |= {call["_id"]: call.get("status") for call in calls}

    def _recent(self) -> dict[str, Any]:
        """Return how the calls stand that may have come in since the last look."""
        return self._statuses(condition({**self._at_start, "start_date": self._until - LATE}))

    def _statuses(self, wanted: dict[str, Any]) -> dict[str, Any]:
        found = self._collection.find(wanted, ["status"]).sort("_id", -1).limit(FOLLOWED_MAX)
        return {call["_id"]: call.get("status") for call in found}

    def _now(self) -> datetime:
        from llm_audit.store.connection import server_time

        by_server = server_time(self._collection.database)
        ours = condition({"start_date": EPOCH})["_id"] | {"$regex": _TELLS_THE_TIME}
        newest = self._collection.find_one({"_id": ours}, ["_id"], sort=[("_id", -1)])
        by_id = newest and created_at(newest["_id"])
        return min(by_server, by_id) if by_id else by_server


def news_forever(watch: Watch) -> Iterator[list[dict[str, Any]]]:
    """Yield what comes in, until Ctrl-C; wait where MongoDB is away, and say so once."""
    from pymongo.errors import ConnectionFailure, OperationFailure

    from llm_audit.store.codes import is_a_state

    is_away = False
    while True:
        time.sleep(POLL_SECONDS)
        try:
            calls = watch.news()
        except (ConnectionFailure, OperationFailure) as error:
            if isinstance(error, OperationFailure) and not is_a_state(error):
                raise
            if not is_away:
                say(f"MongoDB at {get_settings().hosts()} is away; watching goes on.")
            is_away = True
            continue
        is_away = False
        yield calls


def _without(filters: CallFilters, *names: str) -> CallFilters:
    return cast("CallFilters", {name: filters[name] for name in filters if name not in names})  # type: ignore[literal-required]


def _runs(status: object) -> bool:
    return status == LLMCallStatusEnum.PENDING
