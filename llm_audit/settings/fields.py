"""Every setting there is, with its type, its default and what it means."""

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from llm_audit.errors import let_through
from llm_audit.redaction.given import read_rules, read_slow_rules
from llm_audit.redaction.rule import Rule
from llm_audit.runtime import whose
from llm_audit.settings.content import Content, read_by_call_type
from llm_audit.settings.groups import read_group
from llm_audit.settings.mongo_url import hosts_in
from llm_audit.settings.names import legal_collection, legal_database
from llm_audit.settings.own_prices import OwnPrices, PriceFunction, read_prices


def _in_utf8(text: str) -> str:
    text.encode()  # what the environment holds may be no text at all
    return text


Text = Annotated[str, AfterValidator(_in_utf8)]
LONGEST_SECONDS = 1e9  # 31 years; beyond some 290, Python waits no more but raises
Seconds = Annotated[float, Field(le=LONGEST_SECONDS)]
LARGEST_REPLICA_SET = 50  # members that MongoDB allows
LARGEST_BYTES = 2**60  # beyond 64 bits nothing can be measured
Bytes = Annotated[int, Field(gt=0, le=LARGEST_BYTES)]
WITH_STAGE = ", with redact_in_shipper"
ShippedBy = Literal["thread", "agent"]
AGENT: ShippedBy = "agent"
_NO_HOST = "@agent"  # no host has an @
SHORTEST_KEY = 16  # characters: who can guess the key can guess who stands behind a pseudonym
Redact = Callable[[dict[str, Any]], dict[str, Any]]


def _default_spool_dir() -> Path:
    try:
        state = platformdirs.user_state_path("llm-audit")
    except RuntimeError as error:  # there is no home folder, which the validator says
        let_through(error)
        state = Path("~/.local/state/llm-audit")
    return state / "spool"


class Settings(BaseModel):
    """Every setting; `reading` also takes each from the environment, as `LLM_AUDIT_<NAME>`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    enabled: bool = Field(default=True, description="false turns every recording call into a no-op")
    strict: bool = Field(
        default=False, description="raise on mistakes instead of logging them once"
    )

    instrument: Text | None = Field(
        None, description="record calls by themselves: all, or names of clients with commas"
    )

    mongo_url: SecretStr = Field(
        SecretStr("mongodb://127.0.0.1:27017"), description="any MongoDB connection string"
    )
    database: Annotated[Text, AfterValidator(legal_database)] = "llm_audit"
    collection: Annotated[Text, AfterValidator(legal_collection)] = "llm_calls"
    create_collection: bool = Field(
        default=True,
        description="create a missing collection (zstd) with its indexes when shipping starts",
    )
    text_index: bool = Field(
        default=False,
        description="also index every word: search is fast, and writing several times as expensive",
    )
    write_concern: (
        Annotated[int, Field(ge=1, le=LARGEST_REPLICA_SET)]
        | Annotated[str, Field(pattern=r"^[^-+.\d\s]")]  # anything else is a wrong number
    ) = Field("majority", union_mode="left_to_right", description="MongoDB's `w`")
    write_journal: bool = Field(default=True, description="MongoDB's `j`: wait for its journal")

    environment: Text | None = Field(None, description="stored with every call, e.g. production")
    service: Text | None = Field(None, description="stored with every call, e.g. billing-worker")
    retention_days: float | None = Field(
        None,
        gt=0,
        le=365_000,
        description="days until MongoDB deletes a call; none keeps it for ever",
    )
    content: Content = Field(
        Content.FULL,
        description="what is recorded of what was said: full; metadata, nothing of it; or sampled, "
        "that of some traces, of failures and of slow calls",
    )
    content_by_call_type: Annotated[dict[str, Content], BeforeValidator(read_by_call_type)] = Field(
        {},
        description="the same for some call types: EMBEDDING=metadata,CHAT=sampled",
    )
    content_sample_rate: float = Field(
        0.1, ge=0, le=1, description="of how many traces the content is recorded, with sampled"
    )
    slow_ms: float | None = Field(
        10_000,
        ge=0,
        le=1e12,
        description="a call that takes longer is slow: its content is recorded, with sampled",
    )
    redaction_key: SecretStr | None = Field(
        None, description="a secret of yours for pseudonyms: the same text gets the same one"
    )
    redact: Annotated[Redact | tuple[Rule | Redact, ...] | None, BeforeValidator(read_rules)] = (
        Field(
            None,
            description="what else must not be stored: names of rules, rules, or a function "
            "called with the fields of a call before anything is written",
        )
    )
    redact_secrets: bool = Field(
        default=True, description="replace keys, tokens and passwords before anything is written"
    )

    redact_in_shipper: Annotated[
        Redact | tuple[Rule | Redact, ...] | None, BeforeValidator(read_slow_rules)
    ] = Field(
        None,
        description="the same for what takes long: the journal on disk holds the text until it "
        "is shipped",
    )

    prices: Annotated[OwnPrices | PriceFunction | None, BeforeValidator(read_prices)] = Field(
        None,
        description="prices of your own, before the public list: a TOML file, or a function",
    )
    embedding_vectors: bool = Field(
        default=False, description="also store the vectors that embedding calls return"
    )

    shipper: ShippedBy = Field(
        "thread",
        description="what brings the journal to MongoDB: a thread of this process, or `llm-audit "
        "agent`, one for all processes of this machine: then this one connects to nothing",
    )
    spool_group: Annotated[int | None, BeforeValidator(read_group)] = Field(
        None,
        description="the group, by name or number, in which the users are that record into one "
        "spool, and the agent's user; none is for one user alone",
    )
    spool_dir: Path = Field(
        default_factory=_default_spool_dir, description="where the journal lives, on a local disk"
    )
    segment_max_bytes: Bytes = Field(8 * 2**20, description="a journal segment's size")
    media_limit_bytes: Bytes = Field(
        256 * 2**10, description="base64 media longer than this moves to GridFS"
    )
    batch_size: int = Field(
        500,
        gt=0,
        le=100_000,  # MongoDB takes no more at once
        description="operations in one bulk write at the most",
    )
    spool_max_bytes: Bytes = Field(
        10 * 2**30,
        description="what the whole spool may hold, and never more than nine tenths of the disk's "
        "free room; beyond it calls are dropped",
    )
    durability: Literal["journal", "acknowledged"] = Field(
        "journal",
        description="what awaiting a recording call waits for: the journal on this machine's "
        "disk, or MongoDB's acknowledgement",
    )
    acknowledged_timeout_seconds: Seconds = Field(
        5.0, ge=0, description="how long awaiting a recording call may wait for MongoDB"
    )
    query_timeout_seconds: float | None = Field(
        300.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="how long MongoDB may work on a question; a search then gives what it has "
        "found, anything else is an error; none is for ever",
    )
    pending_after_seconds: Seconds = Field(
        1.0, ge=0, description="a call still running after this is made visible as PENDING"
    )
    recovery_interval_seconds: Seconds = Field(
        10.0, gt=0, description="how often to look for the journals of dead processes"
    )
    heartbeat_seconds: Seconds = Field(
        10.0,
        gt=0,
        description="how often a process shows in MongoDB that it lives; at most a third of the "
        "lease",
    )
    lease_seconds: Seconds = Field(
        120.0,
        gt=0,
        description="silence in MongoDB after which a process, on this machine or another, is "
        "taken for lost, and its open calls end as ABANDONED",
    )
    exit_timeout_seconds: Seconds = Field(
        5.0, ge=0, description="how long the end of a process may wait for MongoDB"
    )

    @field_validator("redaction_key")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr | None) -> SecretStr | None:
        """Return the key.

        Raises:
            ValueError: It is too short.
        """
        if key is not None and len(key) < SHORTEST_KEY:
            raise ValueError(f"it has to have at least {SHORTEST_KEY} characters")
        return key

    @field_validator("redact", "redact_in_shipper")
    @classmethod
    def _has_its_key(cls, redact: Any, info: ValidationInfo) -> Any:
        """Return what redacts.

        Raises:
            ValueError: It makes pseudonyms, and there is no key to make them with.
        """
        if info.data.get("redaction_key", ...) is None:
            for rule in redact if isinstance(redact, tuple) else ():
                if isinstance(rule, Rule) and rule.operator == "pseudonym":
                    raise ValueError(
                        f"the rule {rule.name} makes pseudonyms: also set redaction_key, to a "
                        f"secret of at least {SHORTEST_KEY} characters that stays the same"
                    )
        return redact

    @field_validator("spool_group")
    @classmethod
    def _is_for_an_agent(cls, group: int | None, info: ValidationInfo) -> int | None:
        """Return the group.

        Raises:
            ValueError: Each process ships what it records itself.
        """
        if group is not None and info.data.get("shipper", AGENT) != AGENT:
            raise ValueError("it is for shipper=agent: set that, too")
        return group

    @field_validator("spool_dir")
    @classmethod
    def _absolute(cls, folder: Path, info: ValidationInfo) -> Path:
        """Return the folder as it is for the whole life of the process; it says who shares it.

        Raises:
            ValueError: It can be none; anything else would get through pydantic.
        """
        if "\0" in str(folder):
            raise ValueError("no path holds a null byte")
        try:
            absolute = Path(folder.expanduser().absolute())  # which says nothing of a group yet
        except RuntimeError as error:
            let_through(error)
            raise ValueError(f"there is no home folder for {folder}") from None
        except OSError as error:
            let_through(error)
            raise ValueError(f"{folder} is relative to a folder that is gone") from None
        try:
            absolute.lstat()
        except OSError as error:
            let_through(error)
            if error.errno == errno.ENAMETOOLONG:
                raise ValueError("the path is too long") from None
        group = info.data.get("spool_group")
        return absolute if group is None else whose.shared(absolute, group)

    def content_is_full(self) -> bool:
        """Tell whether the content of all calls is recorded."""
        return {self.content, *self.content_by_call_type.values()} == {Content.FULL}

    def beat_seconds(self) -> float:
        """Return how often to show life: at least three times in a lease."""
        return min(self.heartbeat_seconds, self.lease_seconds / 3)

    def hosts(self) -> str:
        """Return the hosts in mongo_url, see `hosts_in`."""
        return hosts_in(self.mongo_url.get_secret_value())

    def target(self, shipper: ShippedBy | None = None) -> str:
        """Name the way that calls go: a short hash of hosts, database, collection, and the stage.

        So nobody ships a journal who does not redact it on its way. On the way through an agent it
        knows no hosts: only the agent has to know where MongoDB is.

        Args:
            shipper: Who ships; by default as these settings say.
        """
        by_agent = (shipper or self.shipper) == AGENT
        name = f"{_NO_HOST if by_agent else self.hosts()}\n{self.database}\n{self.collection}"
        if self.redact_in_shipper:
            name += "\nredact_in_shipper"
        return hashlib.sha256(name.encode()).hexdigest()[:16]

    def target_name(self, shipper: ShippedBy | None = None) -> str:
        """Name the same for people."""
        hosts = self.hosts() or "a mongo_url that cannot be read"
        where = "an agent" if (shipper or self.shipper) == AGENT else hosts
        stage = WITH_STAGE if self.redact_in_shipper else ""
        return f"{where}, database {self.database}, collection {self.collection}{stage}"
