"""Settings: arguments of `configure()` beat the environment, which beats the defaults."""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from llm_audit.errors import ConfigurationError, UsageError, let_through, log_once

_HOST = r"(\[[^][@/?#]+\]|[^][:,@/?#]+)(:\d+)?"
_MONGO_URL = re.compile(
    rf"mongodb(\+srv)?://(?P<user>[^@/?#]*@)?(?P<hosts>{_HOST}(,{_HOST})*)"
    # without a user, an @ would end one whose password has a / or a ?
    r"(?(user)([/?].*)?|([/?][^@]*)?)$"
)
MONGO_URL_SHAPE = (
    "it has to look like mongodb://host:27017 or mongodb+srv://host, with user and password "
    "percent-encoded"
)

Redact = Callable[[dict[str, Any]], dict[str, Any]]


def _default_spool_dir() -> Path:
    return platformdirs.user_state_path("llm-audit") / "spool"


class Settings(BaseSettings):
    """Every setting, each also read from the environment as `LLM_AUDIT_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="LLM_AUDIT_", env_ignore_empty=True, extra="forbid", frozen=True
    )

    enabled: bool = Field(default=True, description="false turns every recording call into a no-op")
    strict: bool = Field(
        default=False, description="raise on mistakes instead of logging them once"
    )

    mongo_url: str = Field("mongodb://127.0.0.1:27017", description="any MongoDB connection string")
    database: str = "llm_audit"
    collection: str = "llm_calls"
    create_collection: bool = Field(
        default=True,
        description="create a missing collection (zstd) with its indexes when shipping starts",
    )
    text_index: bool = Field(
        default=False,
        description="also index every word: search is fast, and writing several times as dear",
    )
    write_concern: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^\D")] = Field(
        "majority", union_mode="left_to_right", description="MongoDB's `w`"
    )
    write_journal: bool = Field(default=True, description="MongoDB's `j`: wait for its journal")

    environment: str | None = Field(None, description="stored with every call, e.g. production")
    service: str | None = Field(None, description="stored with every call, e.g. billing-worker")
    retention_days: float | None = Field(
        None,
        gt=0,
        le=365_000,
        description="days until MongoDB deletes a call; none keeps it for ever",
    )
    redact: Redact | None = Field(
        None, description="called with the fields of a call before anything is written"
    )

    spool_dir: Path = Field(
        default_factory=_default_spool_dir, description="where the journal lives, on a local disk"
    )
    segment_max_bytes: int = Field(8 * 2**20, gt=0, description="a journal segment's size")
    media_limit_bytes: int = Field(
        256 * 2**10, gt=0, description="base64 media longer than this moves to GridFS"
    )
    batch_size: int = Field(500, gt=0, description="operations in one bulk write at the most")
    spool_max_bytes: int = Field(
        10 * 2**30, gt=0, description="what the whole spool may hold; beyond it calls are dropped"
    )
    durability: Literal["journal", "acknowledged"] = Field(
        "journal",
        description="what awaiting a recording call waits for: the journal on this machine's "
        "disk, or MongoDB's acknowledgement",
    )
    acknowledged_timeout_seconds: float = Field(
        5.0, ge=0, description="how long awaiting a recording call may wait for MongoDB"
    )
    pending_after_seconds: float = Field(
        1.0, ge=0, description="a call still running after this is made visible as PENDING"
    )
    recovery_interval_seconds: float = Field(
        10.0, gt=0, description="how often to look for the journals of dead processes"
    )
    heartbeat_seconds: float = Field(
        10.0,
        gt=0,
        description="how often a process shows in MongoDB that it lives; at most a third of the "
        "lease",
    )
    lease_seconds: float = Field(
        120.0,
        gt=0,
        description="silence in MongoDB after which a process, on this machine or another, is "
        "taken for lost, and its open calls end as ABANDONED",
    )
    exit_timeout_seconds: float = Field(
        5.0, ge=0, description="how long the end of a process may wait for MongoDB"
    )

    @field_validator("spool_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    def beat_seconds(self) -> float:
        """Return how often to show life: at least thrice in a lease."""
        return min(self.heartbeat_seconds, self.lease_seconds / 3)

    def hosts(self) -> str:
        """Return the hosts in mongo_url, always in the same order, without credentials.

        Empty where mongo_url cannot be read, as with a password that is not percent-encoded.
        """
        url = _MONGO_URL.match(self.mongo_url)
        return ",".join(sorted(url["hosts"].lower().split(","))) if url else ""

    def target(self) -> str:
        """Name the collection that calls go to: a short hash of hosts, database and collection."""
        name = f"{self.hosts()}\n{self.database}\n{self.collection}"
        return hashlib.sha256(name.encode()).hexdigest()[:16]

    def target_name(self) -> str:
        """Name the same for people."""
        hosts = self.hosts() or "a mongo_url that cannot be read"
        return f"{hosts}, database {self.database}, collection {self.collection}"


class _Home:
    """The one place where the settings in force live."""

    lock = threading.RLock()
    settings: Settings | None = None


def _after_fork_in_child() -> None:
    _Home.lock = threading.RLock()  # a thread that the child does not have may hold the old one


os.register_at_fork(after_in_child=_after_fork_in_child)


def get_settings() -> Settings:
    """Return the settings in force, reading the environment at first use."""
    settings = _Home.settings
    if settings is None:
        with _Home.lock:
            settings = _Home.settings
            if settings is None:
                settings = _from_environment()
                _check_mongo_url(settings)
                _Home.settings = settings
    return settings


def configure(**changes: Any) -> Settings:
    """Put settings in force for this process; never touches the network.

    Args:
        **changes: Any field of `Settings` by its name, e.g. `mongo_url`, `database`, `spool_dir`.
            What is not given comes from the environment, else from the defaults.

    Returns:
        The settings now in force.

    Raises:
        ConfigurationError: A name is unknown or a value has the wrong type; in strict mode also a
            mongo_url that is no MongoDB connection string.
    """
    try:
        settings = Settings(**changes)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None
    _check_mongo_url(settings)
    with _Home.lock:
        _Home.settings = settings
    return settings


@contextmanager
def changed_settings(**changes: Any) -> Iterator[None]:
    """Put changes over the settings in force for the length of the block (for tests).

    Args:
        **changes: Valid values for fields of `Settings`, by name.
    """
    before = _Home.settings
    _Home.settings = get_settings().model_copy(update=changes)
    try:
        yield
    finally:
        _Home.settings = before


def reset_settings() -> None:
    """Forget the settings in force; the next use reads the environment anew (for tests)."""
    _Home.settings = None


def report_mistake(message: str, *, error: type[UsageError] = UsageError) -> None:
    """Report a mistake in using the API: raise it in strict mode, else log it once.

    Args:
        message: One sentence that names the field and the mend.
        error: What strict mode raises.

    Raises:
        UsageError: In strict mode.
    """
    if get_settings().strict:
        raise error(message)
    log_once(message)


def not_recorded(doing: str, error: Exception) -> None:
    """Keep a fault of ours out of the audited code, except where strict mode asks for it.

    Args:
        doing: What could not be done.
        error: The fault.

    Raises:
        Exception: The fault itself, in strict mode; and what only strict mode raises.
    """
    let_through(error)
    if isinstance(error, UsageError | ConfigurationError) or get_settings().strict:
        raise error
    log_once(f"{doing} could not record a call: {type(error).__name__}.")


def _from_environment() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        log_once(f"{_explain(error)} Using the default instead.")
        defaults = {
            name: Settings.model_fields[name].get_default(call_default_factory=True)
            for name in {str(problem["loc"][0]) for problem in error.errors()}
            if name in Settings.model_fields
        }
        return Settings(**defaults)


def _explain(error: ValidationError) -> str:
    """Say in one line which settings are wrong, without repeating their values."""
    problems = [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
    ]
    return (
        f"Wrong setting: {'; '.join(problems)}. Mend the argument of llm_audit.configure() "
        f"or the variable LLM_AUDIT_{str(error.errors()[0]['loc'][0]).upper()}."
    )


def _check_mongo_url(settings: Settings) -> None:
    if settings.hosts():
        return
    message = (
        f"mongo_url is not a MongoDB connection string: {MONGO_URL_SHAPE}. Set it in "
        "llm_audit.configure() or LLM_AUDIT_MONGO_URL; until then calls wait in the spool."
    )
    if settings.strict:
        raise ConfigurationError(message)
    log_once(message)
