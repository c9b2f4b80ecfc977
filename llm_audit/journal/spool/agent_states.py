"""What agents say of themselves in the spool, beside their locks: how far they are.

    <spool_dir>/<target>/agent/<boot_id>.state    replaced whole (BSON)

All of it is read as if a stranger had written it: what does not make sense counts as not said.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import bson
from bson.errors import BSONError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm_audit.errors import let_through
from llm_audit.journal.losses import Count
from llm_audit.journal.spool.agents import lock_name
from llm_audit.journal.spool.folder import AGENT_FOLDER, Held
from llm_audit.journal.spool.owners import Owner, boot_id, read_owner, short
from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError

LOCK_SUFFIX, STATE_SUFFIX = ".lock", ".state"
AGENTS_MAX = 100  # one for each kernel, on a volume that many machines share
STATE_MAX_BYTES = 2**20
SERVICES_MAX = 1_000

_AWARE: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)
_Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]


class OfService(BaseModel):
    """How far an agent is with what the processes of one service have recorded."""

    model_config = ConfigDict(frozen=True)

    recorded: Count = Field(0, description="operations")
    shipped: Count = Field(0, description="of these")
    backlog_bytes: Count = Field(0, description="of the journals, what is not in MongoDB")
    oldest_seconds: _Seconds = Field(0.0, description="for how long the oldest of that has waited")
    refused: Count = Field(0, description="operations that MongoDB refused")
    dropped: Count = Field(0, description="what was lost")


class State(BaseModel):
    """How far an agent is, as it says itself.

    Attributes:
        at: When it said so, by the clock of its machine.
        started_at: Since when it runs.
        unavailable: Why it cannot reach MongoDB; None if it can.
        processes: How many processes that live it ships for.
        services: How far it is, by the name of the service; "" for those without one.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    started_at: datetime | None = None
    unavailable: str | None = None
    processes: Count = 0
    services: dict[str, OfService] = Field(default_factory=dict)


class SeenAgent(NamedTuple):
    """An agent, or the last one under its kernel.

    Attributes:
        path: Its lock file.
        boot_id: Names its kernel.
        owner: Who it is and where it ships to; `lives` says nothing of one under another kernel.
        touched_at: When it last touched its lock file, by the clock of the file system.
        state: How far it is; None where it does not say so.
    """

    path: Path
    boot_id: str
    owner: Owner
    touched_at: float
    state: State | None

    @property
    def is_here(self) -> bool:
        """Whether it runs, or has run, under the kernel of this machine."""
        return self.boot_id == boot_id()


def write_state(target_folder: Path, state: State) -> None:
    """Say how far the agent of this machine is.

    Raises:
        OSError: The spool cannot be written.
    """
    name = f"{boot_id()}{STATE_SUFFIX}"
    with trusted.folder(target_folder / AGENT_FOLDER) as here:
        trusted.put(name, here, bson.encode(state.model_dump(exclude_none=True)))


def agents_of(target_folder: Path) -> list[SeenAgent]:
    """Return the agents of a target, one for each kernel, that of this machine first.

    Args:
        target_folder: The spool's folder for the target.
    """
    folder = target_folder / AGENT_FOLDER
    try:
        with trusted.folder(folder) as here:
            names = [name for name in trusted.names_in(here) if name.endswith(LOCK_SUFFIX)]
            names.sort(key=lambda name: (name != lock_name(), name))
            found = [_look_at(folder / name, here) for name in names[:AGENTS_MAX]]
    except OSError as error:
        let_through(error)  # there is none, or what is there may be somebody else's: `doubts_in`
        return []
    return [agent for agent in found if agent is not None]


def doubts_in(target_folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what of an agent's may be somebody else's, and is not read, and why."""
    folder = target_folder / AGENT_FOLDER
    try:
        with trusted.folder(folder) as here:
            for name, status in islice(trusted.entries(here), 2 * AGENTS_MAX):
                if name.endswith((LOCK_SUFFIX, STATE_SUFFIX)):
                    why = trusted.doubt_of_file(status)
                    if why is not None:
                        yield folder / name, why
    except DoubtfulError as error:
        yield Path(error.path), error.why
    except OSError as error:
        let_through(error)


def state_in(data: bytes) -> State | None:
    """Return what a `.state` file says; None where no agent says that."""
    try:
        said = bson.decode(data, _AWARE)
        services = said.get("services")
        if isinstance(services, Mapping):
            some = islice(services.items(), SERVICES_MAX)
            said["services"] = {short(name): each for name, each in some}
        if isinstance(said.get("unavailable"), str):
            said["unavailable"] = short(said["unavailable"])
        return State.model_validate(said)
    except (BSONError, ValidationError, ValueError, OverflowError) as error:
        let_through(error)
        return None


def _look_at(path: Path, here: int) -> SeenAgent | None:
    """Return what can be seen of an agent; None if its lock file is surely none of ours."""
    named = path.name.removesuffix(LOCK_SUFFIX)
    try:
        status = os.stat(path.name, dir_fd=here, follow_symlinks=False)
        with Held.lock:  # closing a lock file that this process holds would free it
            ours = Held.agents.get(str(path.parent.parent)) if path.name == lock_name() else None
            owner = _owner(path.name, here) if ours is None else Owner.known(ours, lives=True)
    except OSError as error:
        let_through(error)
        return None
    state = _state(f"{named}{STATE_SUFFIX}", here)
    return SeenAgent(path, short(named), owner, status.st_mtime, state)


def _owner(name: str, here: int) -> Owner:
    number = trusted.open_file(name, here)
    try:
        said, lives = read_owner(number), False
        try:
            os.lockf(number, os.F_TEST, 0)
        except OSError as error:
            let_through(error)
            lives = True
        return Owner.known(said, lives=lives)
    finally:
        os.close(number)


def _state(name: str, here: int) -> State | None:
    try:
        number = trusted.open_file(name, here)
    except OSError as error:
        let_through(error)
        return None
    try:
        return state_in(os.pread(number, STATE_MAX_BYTES, 0))
    finally:
        os.close(number)
