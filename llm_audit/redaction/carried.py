"""What a message to another process carries of a call: redacted as the call itself will be."""

from typing import Any

from llm_audit.call import SCHEMA_VERSION
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.sanitise import sanitise
from llm_audit.redaction.apply import Redaction, Rewriting
from llm_audit.runtime.forks import OwnLock
from llm_audit.settings import Settings, get_settings


class _Made:
    """The redaction of the settings in force, which takes a while to make."""

    lock = OwnLock()
    of: tuple[Settings, Redaction] | None = None


def carried(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields of a call's start as they may leave this process.

    Args:
        fields: Anything by name; a rule that fails costs all but the figures.
    """
    rewriting = Rewriting(_redaction(), None)
    mark = {"schema_version": SCHEMA_VERSION}  # by which functions know whose fields these are
    clean = rewriting(sanitise(fields | mark, Notes()))
    return {name: value for name, value in clean.items() if name not in mark}


def _redaction() -> Redaction:
    settings, made = get_settings(), _Made.of
    if made is None or made[0] is not settings:
        with _Made.lock:
            _Made.of = made = (settings, Redaction(settings))
    return made[1]
