"""What a journal says in the log where it cannot keep all that it should: each thing once."""

from pathlib import Path

DISK_REFUSED = "the disk refuses the journal"  # the key, whoever finds out first
UNTIL_THEN = (
    "Until then calls are in memory only, and lost if this process ends before MongoDB has them."
)
# where calls wait, in a sentence of who ships
IN_MEMORY_ONLY = "calls are in memory only, as the journal in spool_dir cannot be written"
_MAKE_ROOM = (
    "Bring MongoDB back or make room in the spool (LLM_AUDIT_SPOOL_DIR, LLM_AUDIT_SPOOL_MAX_BYTES)."
)


def disk_refuses(folder: Path, error: OSError) -> str:
    """Say that nothing can be written."""
    return (
        f"The journal in spool_dir cannot be written ({error.strerror}): make room in or give "
        f"write permission to {folder}, or set LLM_AUDIT_SPOOL_DIR. {UNTIL_THEN}"
    )


def disk_is_short(folder: Path) -> str:
    """Say that the rest of the disk is left to others."""
    return (
        f"The disk of {folder} is nearly full, and its last tenth is left free: make room on it, "
        f"or set LLM_AUDIT_SPOOL_DIR. {UNTIL_THEN}"
    )


def made_anew(folder: Path) -> str:
    """Say that somebody has removed files."""
    return (
        f"Files in the spool were removed, and are made anew in {folder}. What lay in older ones "
        "and was not shipped is lost and counted: let nothing clean LLM_AUDIT_SPOOL_DIR."
    )


def no_room_for_content(reason: str) -> str:
    """Say that calls lose their content."""
    return (
        f"There is no room for the content of new calls ({reason}): they are recorded without "
        f"messages and response, and counted. {_MAKE_ROOM}"
    )


def no_room(reason: str) -> str:
    """Say that calls are lost."""
    return (
        f"There is no room for new calls ({reason}): they are dropped whole and counted. "
        f"{_MAKE_ROOM}"
    )
