"""The settings in force: arguments of `configure()` beat the environment, which beats the defaults.

`fields` says what there is to set, `reading` takes it from the environment, and `mongo_url` knows
connection strings.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from llm_audit.encoding.safe_text import safe_repr, type_name
from llm_audit.errors import ConfigurationError, UsageError, let_through, log_once
from llm_audit.runtime.forks import OwnLock, begin_anew
from llm_audit.runtime.kept import kept
from llm_audit.settings.fields import Settings
from llm_audit.settings.mongo_url import meaning_of
from llm_audit.settings.reading import PREFIX, hide_secrets, read
from llm_audit.settings.sameness import same_function

__all__ = [
    "Settings",
    "changed_settings",
    "configure",
    "freeze",
    "get_settings",
    "made_before",
    "not_recorded",
    "report_mistake",
    "reset_settings",
    "shipper_so_far",
    "thaw",
]


@kept
class _InForce:
    """The one place where the settings in force live."""

    lock = OwnLock()
    named: ClassVar[dict[str, Any]] = {}  # by configure()
    pinned: ClassVar[dict[str, Any]] = {}  # by a test
    settings: Settings | None = None
    frozen = False


@begin_anew
def _begin_anew() -> None:
    _InForce.frozen = False


# A child forked while a thread has pydantic check the settings may wait for that thread for ever.
os.register_at_fork(before=_InForce.lock.acquire, after_in_parent=_InForce.lock.release)


def get_settings() -> Settings:
    """Return the settings in force, reading the environment at first use.

    Raises:
        ConfigurationError: In strict mode, when the environment is wrong.
    """
    settings = _InForce.settings
    if settings is None:
        with _InForce.lock:
            settings = _InForce.settings or read(_InForce.named | _InForce.pinned)
            _InForce.settings = settings
    return settings


def shipper_so_far() -> str | None:
    """Return which shipper the program or the environment has named by now, right or wrong.

    For what is loaded before anybody knows all settings, and raises no error for one of them.
    """
    variables = {name.upper(): value for name, value in os.environ.items()}
    named = (_InForce.named | _InForce.pinned).get("shipper")
    return str(named or variables.get(f"{PREFIX}SHIPPER") or "") or None


def configure(**settings: Any) -> None:
    """Put settings in force for this process; never touches the network.

    A later call changes what it names, and keeps what earlier calls named. From the first record
    until `llm_audit.shutdown()` settings are kept: naming the same values again is fine, also a
    function that was made anew from the same code.

    Args:
        **settings: Any field of `Settings` by its name, e.g. `mongo_url`, `database`, `spool_dir`.
            What no call has named comes from the environment, else from the defaults.

    Raises:
        ConfigurationError: A name is unknown, a value is wrong, or it differs from the one under
            which calls are being recorded; in strict mode also for a wrong variable.
    """
    settings = hide_secrets(settings)
    with _InForce.lock:
        named = _InForce.named | settings
        new = read(named | _InForce.pinned)
        if _InForce.frozen:
            _refuse_changes(settings.keys(), new)
        else:
            _InForce.named, _InForce.settings = named, new


def _refuse_changes(names: Iterable[str], new: Settings) -> None:
    in_force = get_settings()
    changed = [name for name in names if not _same(name, new, in_force)]
    if changed:
        raise ConfigurationError(
            f"{', '.join(changed)} cannot change now: this process records under other values. "
            "Call llm_audit.configure() before the first call is recorded, or "
            "llm_audit.shutdown() first."
        )


def _same(name: str, one: Settings, other: Settings) -> bool:
    if name == "mongo_url":
        urls = one.mongo_url.get_secret_value(), other.mongo_url.get_secret_value()
        return meaning_of(urls[0]) == meaning_of(urls[1])
    if name == "spool_dir":  # the same folder by another path
        return one.spool_dir.resolve() == other.spool_dir.resolve()
    values = getattr(one, name), getattr(other, name)
    either = name in {"redact", "redact_in_shipper", "prices"}
    return same_function(*values) if either else bool(values[0] == values[1])


def freeze() -> Settings:
    """Return the settings in force, which no `configure()` changes until `thaw`."""
    with _InForce.lock:
        settings = get_settings()
        _InForce.frozen = True
    return settings


def thaw() -> None:
    """Let `configure()` change settings again."""
    _InForce.frozen = False


@contextmanager
def changed_settings(**changes: Any) -> Iterator[None]:
    """Put changes over the settings for the length of the block, also over `configure()` in it.

    For tests: afterwards all is as it was, whatever was configured in the block.

    Args:
        **changes: Values for fields of `Settings`, by name.
    """
    changes = hide_secrets(changes)
    with _InForce.lock:
        before = _InForce.named, _InForce.pinned, _InForce.settings
        pinned = _InForce.pinned | changes
        _InForce.settings = read(_InForce.named | pinned)
        _InForce.pinned = pinned
    try:
        yield
    finally:
        _InForce.named, _InForce.pinned, _InForce.settings = before


def reset_settings() -> None:
    """Forget what was configured; the next use reads the environment anew (for tests)."""
    _InForce.named, _InForce.settings, _InForce.frozen = {}, None, False


class _MadeBefore(threading.local):
    """Whether what was recorded is read again: who made a mistake in it is no longer there.

    It is no context variable: streams end where the garbage collector runs, and Python 3.11 crashes
    if one is set while another is being set.
    """

    _is_read = False

    def get(self) -> bool:
        """Tell it."""
        return self._is_read

    def set(self, is_read: bool) -> bool:  # noqa: FBT001  (as a context variable is set)
        """Say it in this thread; return what is to be given to `reset`."""
        before, self._is_read = self._is_read, is_read
        return before

    def reset(self, before: bool) -> None:  # noqa: FBT001  (the same)
        """Take it back."""
        self._is_read = before


made_before = _MadeBefore()


def report_mistake(message: str, given: object = None, *, key: str | None = None) -> None:
    """Report a mistake in using the API: raise it in strict mode, else log it once.

    Args:
        message: One sentence that names the field and the fix, with %s for what was given.
        given: What is shown of it where it is raised; in a log, only its type.
        key: See `log_once`.

    Raises:
        UsageError: In strict mode.
    """
    if get_settings().strict and not made_before.get():
        raise UsageError(message.replace("%s", f"{safe_repr(given):.50}"))
    log_once(message.replace("%s", f"this {type_name(given)}"), key=key, of_caller=2)


def not_recorded(doing: str, error: BaseException) -> None:
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
    log_once(f"{doing} could not record a call: {type(error).__name__}.", of_caller=2)
