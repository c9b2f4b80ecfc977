"""Small files beside a journal in a process's folder, for whoever ships it: one document each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson
from bson.errors import BSONError

_AWARE: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)


def write(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    """Write a file, or replace it at once by a newer one.

    Args:
        folder: The process's, in the spool.
        name: The file's.
        document: What it is to hold.

    Raises:
        OSError: The spool cannot be written.
    """
    new = folder / f"{name}.new"
    new.touch(mode=0o600)
    new.write_bytes(bson.encode(document))
    new.replace(folder / name)


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return what a file holds; empty if there is none, or none that can be read."""
    try:
        return bson.decode((folder / name).read_bytes(), _AWARE)
    except (OSError, BSONError):
        return {}
