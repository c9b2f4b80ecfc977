"""Content too large for a record: files beside the journal, each named after its sha256."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from llm_audit.encoding.encode import Blob
from llm_audit.errors import let_through

SUFFIX = ".blob"

# The file last written with a content, by folder and sha256; forgotten all at once when many.
_written: dict[tuple[Path, str], str] = {}
_WRITTEN_MAX = 256


def missing_bytes(folder: Path, blobs: Iterable[Blob]) -> int:
    """Return how much room `write_blobs` takes for content that is not in the folder yet."""
    return sum(len(blob.data) for blob in blobs if (folder, blob.sha256) not in _written)


def write_blobs(folder: Path, blobs: Iterable[Blob]) -> list[str]:
    """Write blobs to the disk, each under a name of its own, and return the names.

    The same content takes the room once: its further names are hard links.

    Raises:
        OSError: The spool cannot be written; nothing of these blobs is left in it.
    """
    names: list[str] = []
    try:
        for blob in blobs:
            # its own, so that no other record's segment takes it along when it goes
            names.append(f"{blob.sha256}.{uuid4()}{SUFFIX}")
            _write(folder, names[-1], blob)
    except BaseException:
        for name in names:
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise
    return names


def sha256_of(name: str) -> str:
    """Return the sha256 of the content of a blob's file."""
    return name.partition(".")[0]


def _write(folder: Path, name: str, blob: Blob) -> None:
    try:
        os.link(folder / _written[folder, blob.sha256], folder / name)
    except (KeyError, OSError) as error:
        let_through(error)  # else not written, gone with its segment, too many links, no links here
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(folder / name, flags, 0o600), "wb") as file:  # noqa: PTH123  (the mode)
            file.write(blob.data)
    if len(_written) >= _WRITTEN_MAX:
        _written.clear()
    _written[folder, blob.sha256] = name  # not before it is whole
