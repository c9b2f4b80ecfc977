"""A replica set of three real mongods, whose primary may be killed or told to step down."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymongo
from pymongo.errors import ConnectionFailure, OperationFailure
from waiting import until

from llm_audit import embedded

MEMBERS = 3
# The default is 10 s; how long shipping pauses after a crash is mostly this.
ELECTION_TIMEOUT_MS = 2000
NO_SECONDARY_CAUGHT_UP = 262  # ExceededTimeLimit: under load, try again
STEP_DOWN_SECONDS = 5
SECRET = "oneforallofthem"


class _Member(embedded.Mongod):
    """One of several, which comes up without being the primary."""

    @property
    def is_primary(self) -> bool:
        try:
            return self.pid is not None and bool(self._admin("hello")["isWritablePrimary"])
        except ConnectionFailure:
            return False

    def initiate(self, members: list[str]) -> None:
        config = {
            "_id": embedded.REPLICA_SET,
            "members": [{"_id": number, "host": host} for number, host in enumerate(members)],
            "settings": {"electionTimeoutMillis": ELECTION_TIMEOUT_MS},
        }
        self._admin("replSetInitiate", config)

    def step_down(self) -> None:
        options = {"secondaryCatchUpPeriodSecs": STEP_DOWN_SECONDS - 1}
        with pymongo.MongoClient[Any](self.url, directConnection=True) as client:
            while True:
                try:
                    client.admin.command("replSetStepDown", STEP_DOWN_SECONDS, **options)
                except OperationFailure as error:
                    if error.code != NO_SECONDARY_CAUGHT_UP:
                        raise
                else:
                    return

    def _command(self, data: Path) -> list[str]:
        self.secret = SECRET
        return [*super()._command(data), "--replSet", embedded.REPLICA_SET]


class ReplicaSet:
    """Three mongods on this machine; use it in a `with` block."""

    def __init__(self) -> None:
        self._members = [_Member() for _ in range(MEMBERS)]
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """The connection string."""
        hosts = ",".join(member.address for member in self._members)
        options = f"authSource={embedded.USERS}&replicaSet={embedded.REPLICA_SET}"
        return f"mongodb://{embedded.USER}:{SECRET}@{hosts}/?{options}"

    def kill_primary(self) -> None:
        """Kill the primary, wait until there is another, and bring the killed one back."""
        killed = self._primary()
        killed.kill()
        self._primary()
        killed.restart()

    def step_down(self) -> None:
        """Let the primary step down, and wait until there is another."""
        self._primary().step_down()
        self._primary()

    def _primary(self) -> _Member:
        until(lambda: any(member.is_primary for member in self._members))
        return next(member for member in self._members if member.is_primary)

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for member in self._members:
                starting.enter_context(member)
            self._members[0].initiate([member.address for member in self._members])
            self._primary()
            self._running = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()
