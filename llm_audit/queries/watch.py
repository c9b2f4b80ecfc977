"""Which calls come in, and how they end."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self, cast

from llm_audit.call import LLMCallStatusEnum
from llm_audit.documents import LLMCall
from llm_audit.ids import EPOCH, created_at
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.questions.calls import calls
from llm_audit.queries.steps import ServerTime, Steps, rows

LATE = timedelta(minutes=1)  # a call's id is made when it starts, its document when it is shipped
FOLLOWED_MAX = 10_000  # calls that run, or have come in of late: the newest

_DATES = ("start_date", "end_date")
_KNOWN_AT_THE_END = ("status", "tool")  # a running call may come to match these
_TELLS_THE_TIME = "^[0-9a-f]{8}-[0-9a-f]{4}-7"  # a UUIDv7


class Watch:
    """The calls that match filters, from when this began on.

    A running call is followed until it ends, however long that takes and whatever the filters say
    of its end. Time is the server's, or that of the newest call where that is behind.
    """

    def __init__(self, filters: CallFilters) -> None:
        self._wanted = condition(_without(filters, *_DATES))
        self._at_start = _without(filters, *_DATES, *_KNOWN_AT_THE_END)
        self._until = EPOCH
        self._seen: dict[str, Any] = {}

    @classmethod
    def begin(cls, filters: CallFilters) -> Steps[Self]:
        """Take note of the calls that there are, and return what tells of later ones.

        Args:
            filters: Which of them are wanted.
        """
        watch = cls(filters)
        watch._until = yield from _now()
        running = condition({**watch._at_start, "status": LLMCallStatusEnum.PENDING})
        watch._seen = (yield from _statuses(running)) | (yield from watch._recent())
        return watch

    def news(self) -> Steps[list[LLMCall]]:
        """Return the calls that have come in since, and those that have ended, oldest first."""
        until = yield from _now()
        running = [name for name, status in self._seen.items() if _runs(status)]
        followed = yield from _statuses({"_id": {"$in": running}})
        now = followed | (yield from self._recent())
        changed = [name for name, status in now.items() if self._seen.get(name) != status]
        found: list[LLMCall] = []
        if changed:
            wanted = self._wanted | {"_id": {"$in": changed}}
            pipeline: Pipeline = [{"$match": wanted}, {"$sort": {"_id": 1}}]
            found = yield from calls(pipeline, with_content=False)
        self._seen = now
        self.note(found)
        self._until = max(self._until, until)  # the clock of another member may be behind
        return found

    def note(self, calls: Iterable[LLMCall]) -> None:
        """Take calls for seen that are shown otherwise."""
        self._seen |= {call.id: call.status for call in calls}

    def _recent(self) -> Steps[dict[str, Any]]:
        """Return how the calls stand that may have come in since the last look."""
        since = condition({**self._at_start, "start_date": self._until - LATE})
        return (yield from _statuses(since))


def _now() -> Steps[datetime]:
    """Return the server's time, or that of the newest call where that is behind."""
    ours = condition({"start_date": EPOCH})["_id"] | {"$regex": _TELLS_THE_TIME}
    newest: Pipeline = [{"$match": {"_id": ours}}, {"$sort": {"_id": -1}}, {"$limit": 1}]
    found = yield from rows([*newest, {"$project": {"_id": 1}}], dict)
    by_server: datetime = yield ServerTime()
    by_id = created_at(found[0]["_id"]) if found else None
    return min(by_server, by_id) if by_id else by_server


def _statuses(wanted: dict[str, Any]) -> Steps[dict[str, Any]]:
    newest: Pipeline = [{"$match": wanted}, {"$sort": {"_id": -1}}, {"$limit": FOLLOWED_MAX}]
    found = yield from rows([*newest, {"$project": {"status": 1}}], dict)
    return {str(call["_id"]): call.get("status") for call in found}


def _without(filters: CallFilters, *names: str) -> CallFilters:
    return cast("CallFilters", {name: filters[name] for name in filters if name not in names})  # type: ignore[literal-required]


def _runs(status: object) -> bool:
    return status == LLMCallStatusEnum.PENDING
