"""What `doctor()` returns."""

from pydantic import BaseModel, Field

from llm_audit.call import UTCDatetime
from llm_audit.tolerant import TolerantModel


class Loss(BaseModel):
    """What was rejected or dropped for one reason."""

    what: str = Field(description="record, content, or journal: the rest of a segment")
    reason: str
    count: int
    first_seq: int
    last_seq: int
    first_at: UTCDatetime
    last_at: UTCDatetime
    call_ids: list[str] = Field(default_factory=list, description="the first few calls")


class Shortfall(BaseModel):
    """What the server refuses for good, so that a process does without it."""

    what: str
    why: str = Field(description="the server's own words")
    instead: str = Field(description="what follows, and how to fix it")


class ProcessReport(TolerantModel):
    """One process that has recorded, as far as its document can be read."""

    nonce: str
    host: str | None = None
    pid: int | None = None
    boot_id: str | None = None
    service: str | None = None
    environment: str | None = None
    shipped_by: str | None = Field(
        None, description="agent, where one ships what it records; else it does so itself"
    )
    state: str = Field(
        description="alive; ended, by itself; recovered, its journal was shipped by another "
        "process; silent, longer than its lease; lost, its open calls were closed for it; dead, "
        "its journal waits in this machine's spool"
    )
    started_at: UTCDatetime | None = None
    beat_at: UTCDatetime | None = Field(None, description="its last sign of life")
    clock_ahead_seconds: float = Field(
        0.0, description="how far its machine's clock is ahead of MongoDB's; 0 up to a minute"
    )
    heartbeat_seconds: float = Field(10.0, description="how often it shows one")
    lease_seconds: float = Field(0.0, description="for how long it may show none")
    silent_seconds: float = Field(0.0, description="since the last one, by MongoDB's clock")
    retention_days: float | None = Field(None, description="for how long its calls are kept")
    recorded: int = Field(0, description="operations, at its last sign of life")
    begun: int | None = Field(None, description="how many of these begin a call, at least")
    acked_through: int = Field(0, description="up to where everything has arrived or is named here")
    backlog_bytes: int = 0
    backlog_age_seconds: float = 0.0
    rejected: list[Loss] = Field(default_factory=list, description="refused by MongoDB")
    retried: int = Field(0, description="of what was refused, how much arrived later")
    dropped: list[Loss] = Field(default_factory=list, description="lost")
    done_without: list[Shortfall] = Field(
        default_factory=list, description="refused by the server for good"
    )
    content_left_out: dict[str, int] = Field(
        default_factory=dict,
        description="of how many calls content was not recorded, by the policy that says so",
    )
    instrumented: list[str] = Field(
        default_factory=list, description="whose calls it records by themselves"
    )
    captured: int = Field(0, description="how many it has recorded so")
    captured_by_hand: int = Field(0, description="how many not, as the app records them itself")
    capture_faults: int = Field(0, description="of how many something is missing")
    passed_by: int = Field(0, description="how many not, as their clients are not named")
    clients_loaded: list[str] = Field(
        default_factory=list, description="clients that it has loaded, of those that there are"
    )
    everything_arrived: bool | None = Field(
        None, description="of what it recorded; None for the living, and where it cannot be known"
    )
    summary: str = Field("", description="the same in words")


class JournalReport(BaseModel):
    """One process's folder in this machine's spool."""

    path: str
    nonce: str
    host: str | None = None
    pid: int | None = None
    service: str | None = None
    shipper: str | None = Field(
        None, description="thread, it ships this itself; agent, it waits for one; older ones: None"
    )
    target: str | None = Field(None, description="hosts, database and collection it goes to")
    ours: bool = Field(default=True, description="whether these are those in the settings")
    state: str = Field(
        description="in use, by a living process; adopted, a dead process's that a living one "
        "ships; no agent, of a living process that has one ship it, where none runs; waiting, for "
        "a process or an agent that ships it; other kernel, from before a reboot or from another "
        "machine; other target, for another mongo_url, database or collection"
    )
    segments: int = 0
    bytes: int = Field(0, description="of its segments and media")
    age_seconds: float | None = Field(None, description="of its oldest segment")
    oldest_seconds: float | None = Field(
        None,
        description="age of its oldest record, if a living process holds the journal; with an "
        "agent, of the oldest that waits",
    )
    waiting_bytes: int | None = Field(
        None, description="with an agent, of the records that it is not known to have shipped"
    )


class OfService(BaseModel):
    """What an agent has done for one service, since it began."""

    recorded: int = Field(0, description="operations")
    shipped: int = Field(0, description="of these, how many wait no more")
    refused: int = Field(0, description="how many MongoDB refused")
    dropped: int = Field(0, description="how often something was lost before it reached MongoDB")
    backlog_bytes: int = Field(0, description="of the journals, what is not shipped yet")
    oldest_seconds: float = Field(0.0, description="for how long the oldest of that has waited")


class AgentReport(BaseModel):
    """An agent that ships what others record into this machine's spool, or the last one."""

    path: str = Field(description="its lock file")
    ours: bool = Field(
        default=True, description="whether it serves the database and collection in the settings"
    )
    here: bool = Field(default=True, description="whether it runs under the kernel of this machine")
    host: str | None = None
    pid: int | None = None
    boot_id: str
    version: str | None = None
    target: str | None = Field(None, description="hosts, database and collection it ships to")
    state: str = Field(
        description="alive; silent, it holds its lock and has shown no sign of life for a minute; "
        "ended, by itself or killed"
    )
    started_at: UTCDatetime | None = None
    seen_at: UTCDatetime | None = Field(None, description="its last sign of life in the spool")
    silent_seconds: float = Field(0.0, description="since then")
    unavailable: str | None = Field(None, description="why it cannot reach MongoDB, if it cannot")
    processes: int = Field(0, description="how many that live it ships for")
    services: dict[str, OfService] = Field(
        default_factory=dict, description="how far it is, by service"
    )

    @property
    def sums(self) -> OfService:
        """How far it is with all of them."""
        each = self.services.values()
        return OfService(
            recorded=sum(one.recorded for one in each),
            shipped=sum(one.shipped for one in each),
            backlog_bytes=sum(one.backlog_bytes for one in each),
            oldest_seconds=max((one.oldest_seconds for one in each), default=0.0),
            refused=sum(one.refused for one in each),
            dropped=sum(one.dropped for one in each),
        )


class Refused(BaseModel):
    """What MongoDB refused and is kept in llm_audit_rejected, to be sent again."""

    count: int = 0
    oldest_at: UTCDatetime | None = None
    reasons: dict[str, int] = Field(default_factory=dict, description="how many, by MongoDB's code")
    call_ids: list[str] = Field(default_factory=list, description="the oldest ten")


class PendingCalls(BaseModel):
    """Calls that have been PENDING for longer than the limit."""

    count: int = 0
    oldest_at: UTCDatetime | None = None
    call_ids: list[str] = Field(default_factory=list, description="the oldest ten")
    by_process: dict[str, int] = Field(
        default_factory=dict, description="how many, by nonce or unknown"
    )


class Diagnosis(BaseModel):
    """What is known of every process, journal and call."""

    processes: list[ProcessReport] = Field(default_factory=list)
    journals: list[JournalReport] = Field(default_factory=list)
    agents: list[AgentReport] = Field(default_factory=list)
    refused: Refused = Field(default_factory=Refused)
    rejected_files: list[str] = Field(
        default_factory=list,
        description="what MongoDB does not even take into llm_audit_rejected, in this spool",
    )
    damaged_files: list[str] = Field(
        default_factory=list, description="what could not be read of journals"
    )
    unreadable: list[str] = Field(
        default_factory=list, description="what this user may not look into in the spool"
    )
    doubtful: dict[str, str] = Field(
        default_factory=dict,
        description="what may be somebody else's in the spool, and is left alone, and why",
    )
    not_looked_at: dict[str, str] = Field(
        default_factory=dict, description="what MongoDB does not let us look at, and what it says"
    )
    done_without: list[Shortfall] = Field(
        default_factory=list, description="refused by the server for good"
    )
    open_calls: PendingCalls = Field(default_factory=PendingCalls)
    unreferenced_media: list[str] = Field(
        default_factory=list, description="GridFS entries that no call refers to"
    )
    calls_without_media: dict[str, list[str]] = Field(
        default_factory=dict, description="by call, the GridFS entries that are missing"
    )
    altered_media: dict[str, list[str]] = Field(
        default_factory=dict, description="by call, the GridFS entries that are not as recorded"
    )
    checked_media: int = Field(0, description="how many were read and compared with their sha256")
    unchecked_media: int = Field(0, description="how many were not; `all_media` reads them, too")
    missing_calls: dict[str, int] = Field(
        default_factory=dict,
        description="by process, how many calls are not there that it began, and that arrived",
    )
    invented_calls: dict[str, int] = Field(
        default_factory=dict,
        description="by process, how many calls name it that it did not begin, or of which nobody "
        "knows the process",
    )
    missing_collection: str | None = Field(
        None, description="the collection of calls, if it does not exist"
    )
    missing_indexes: list[str] = Field(default_factory=list, description="collection.index")
    conflicting_indexes: list[str] = Field(
        default_factory=list, description="collection.index, which another index takes the place of"
    )
    expired_at: UTCDatetime | None = Field(
        None, description="when the oldest call expired that is still there a day later"
    )
    cleaned: list[str] = Field(default_factory=list, description="what was removed this time")
    problems: list[str] = Field(
        default_factory=list,
        description="what to look at and how to fix it; empty if all is well",
    )
