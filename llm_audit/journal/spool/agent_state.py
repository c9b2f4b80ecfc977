"""What an agent says of itself, for whoever asks how it is: `<target>/agent/<boot_id>.state`.

The lock beside it (`agents`) tells whether it runs. As all of the spool it is read as a stranger's.
"""

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import bson
from bson.errors import BSONError

from llm_audit.errors import let_through
from llm_audit.journal.losses import count_in
from llm_audit.journal.records import SEQ_MAX
from llm_audit.journal.spool.folder import AGENT_FOLDER
from llm_audit.journal.spool.owners import boot_id, short
from llm_audit.runtime import trusted

STUCK_SECONDS = 60.0  # it looks many times a second, and writes that down each second
MAX_BYTES = 2**20
SERVICES_MAX = 500
OTHER_SERVICES = "other services"
_OLDEST = "oldest_seconds"
_AWARE: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)


class Figures(NamedTuple):
    """What became of the operations of one service; the start of a call is one, its end is one.

    The first four are counted since the agent began, and never become less: of a process that was
    there before, what had been shipped by then is not counted; of one that is gone, all stays.

    Attributes:
        recorded: How many were recorded.
        shipped: How many of these wait no more: MongoDB has them, save those refused or dropped.
        refused: How many MongoDB refused.
        dropped: How often something was lost before it reached MongoDB.
        backlog_bytes: How much of the journals is not shipped yet.
        oldest_seconds: For how long the oldest of what waits has been waiting; 0 if nothing does.
    """

    recorded: int = 0
    shipped: int = 0
    refused: int = 0
    dropped: int = 0
    backlog_bytes: int = 0
    oldest_seconds: float = 0.0

    def together(self, other: "Figures") -> "Figures":
        """Return those of both."""
        sums = (min(one + its, SEQ_MAX) for one, its in zip(self, other, strict=True))
        oldest = max(self.oldest_seconds, other.oldest_seconds)
        return Figures._make(sums)._replace(oldest_seconds=oldest)


NOTHING = Figures()


class AgentState(NamedTuple):
    """What an agent says of itself.

    Attributes:
        at: When it last looked at the journals, UTC.
        unavailable: Why MongoDB cannot be reached; None if it can, as far as is known.
        processes: How many processes it ships for.
        services: What became of what they recorded, by service; "" is for those without a name.
        started_at: Since when it runs, UTC.
    """

    at: datetime
    unavailable: str | None = None
    processes: int = 0
    services: Mapping[str, Figures] = {}
    started_at: datetime | None = None

    def total(self) -> Figures:
        """Return the figures of all services together."""
        total = NOTHING
        for figures in self.services.values():
            total = total.together(figures)
        return total


def state_name() -> str:
    """Return the name of the file in which this kernel's agent says how it is."""
    return f"{boot_id()}.state"


def write_state(target_folder: Path, state: AgentState) -> None:
    """Say how this agent is.

    Args:
        target_folder: The spool's folder for a target of agents.
        state: What it says; services that are very many are told together.

    Raises:
        OSError: The spool cannot be written.
    """
    services: dict[str, Figures] = {}
    for service, figures in state.services.items():
        name = short(service)
        if name not in services and len(services) >= SERVICES_MAX:
            name = OTHER_SERVICES
        services[name] = services.get(name, NOTHING).together(figures)
    said = {
        **state._asdict(),
        "unavailable": short(state.unavailable or ""),
        "services": [{"service": name, **its._asdict()} for name, its in services.items()],
    }
    with trusted.folder(target_folder / AGENT_FOLDER) as here:
        trusted.put(state_name(), here, bson.encode(said))


def read_state(target_folder: Path, name: str = "") -> AgentState | None:
    """Return what this kernel's agent, or the last one, has said; None if there is nothing to read.

    Args:
        target_folder: The spool's folder for a target of agents.
        name: The name of the file of another kernel's.
    """
    try:
        with trusted.folder(target_folder / AGENT_FOLDER) as here:
            number = trusted.open_file(name or state_name(), here, of_any_member=True)
            with os.fdopen(number, "rb") as file:
                said = bson.decode(file.read(MAX_BYTES), _AWARE)
    except (OSError, BSONError, ValueError, OverflowError) as error:
        let_through(error)
        return None
    at, began, why = said.get("at"), said.get("started_at"), said.get("unavailable")
    if not isinstance(at, datetime):
        return None
    return AgentState(
        at.astimezone(UTC),
        unavailable=(short(why) or None) if isinstance(why, str) else None,
        processes=count_in(said.get("processes")),
        services=_services_in(said.get("services")),
        started_at=began.astimezone(UTC) if isinstance(began, datetime) else None,
    )


def _services_in(said: object) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for each in said[: SERVICES_MAX + 1] if isinstance(said, list) else ():
        name = each.get("service") if isinstance(each, dict) else None
        if isinstance(name, str):
            counts = {field: count_in(each.get(field)) for field in Figures._fields}
            figures = Figures(**counts)._replace(oldest_seconds=_seconds(each.get(_OLDEST)))
            found[short(name)] = found.get(short(name), NOTHING).together(figures)
    return found


def _seconds(said: object) -> float:
    if type(said) is int or type(said) is float:
        return float(said) if 0 < said < math.inf else 0.0
    return 0.0
