"""Content too large for a record: files beside the journal, each named after its sha256."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from uuid import NAMESPACE_OID, uuid4, uuid5

from llm_audit.encoding.encode import Blob
from llm_audit.errors import let_through
from llm_audit.journal.spool.folder import BLOB_SUFFIX
from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError

MAX_BYTES = 2**31  # more no value of BSON has; a file may have holes

# The file last written with a content, by folder and sha256; forgotten all at once when many.
_written: dict[tuple[Path, str], str] = {}
_WRITTEN_MAX = 256


def missing_bytes(folder: Path, blobs: Iterable[Blob]) -> int:
    """Return how much room `write_blobs` takes for content that is not in the folder yet."""
    return sum(len(blob.data) for blob in blobs if (folder, blob.sha256) not in _written)


def write_blobs(folder: Path, blobs: Iterable[Blob], made_of: str = "") -> list[str]:
    """Write blobs to the disk, each under a name of its own, and return the names.

    The same content takes the room once: its further names are hard links.

    Args:
        folder: The journal's.
        blobs: What moved out of a record.
        made_of: Names the record that they are made of each time that it is read, if it is: then
            they have the same names each time.

    Raises:
        OSError: The spool cannot be written; nothing of these blobs is left in it.
    """
    names: list[str] = []
    with trusted.folder(folder) as here:
        try:
            for blob in blobs:
                # its own, so that no other record's segment takes it along when it goes
                own = uuid5(NAMESPACE_OID, made_of) if made_of else uuid4()
                names.append(f"{blob.sha256}.{own}{BLOB_SUFFIX}")
                if made_of and _is_whole(names[-1], blob, here):
                    continue
                _write(folder, names[-1], blob, here)
        except BaseException:
            for name in names:
                with suppress(OSError):
                    trusted.remove_file(name, here)
            raise
    return names


def sha256_of(name: str) -> str:
    """Return the sha256 of the content of a blob's file."""
    return name.partition(".")[0]


def open_blob(path: Path, *, own: int = 2) -> BufferedReader:
    """Open a blob's file, which may have several names.

    Raises:
        DoubtfulError: It is none of ours.
        OSError: It cannot be opened.
    """
    with trusted.folder(path.parent, own=own) as here:
        number = trusted.open_file(path.name, here, blob=True)
    if os.fstat(number).st_size > MAX_BYTES:
        os.close(number)
        raise DoubtfulError(path, "is larger than any content")
    return os.fdopen(number, "rb")


def copy_blob(path: Path, folder: Path) -> None:
    """Copy a blob's file into a folder beside what was refused, which is made if missing.

    Raises:
        OSError: It cannot be read, or the copy not be written.
    """
    with (
        open_blob(path) as source,
        trusted.folder(folder, own=3, make=True) as there,
        trusted.aside(path.name, there) as number,
        open(number, "wb", closefd=False) as copy,
    ):
        shutil.copyfileobj(source, copy)


def _is_whole(name: str, blob: Blob, here: int) -> bool:
    """Tell whether a file has been written before; one that was begun is removed."""
    try:
        if os.stat(name, dir_fd=here, follow_symlinks=False).st_size == len(blob.data):
            return True
    except FileNotFoundError as error:
        let_through(error)
    trusted.remove_file(name, here)
    return False


def _write(folder: Path, name: str, blob: Blob, here: int) -> None:
    try:
        written = _written[folder, blob.sha256]
        os.link(written, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
    except (KeyError, OSError) as error:
        let_through(error)  # else not written, gone with its segment, too many links, no links here
        with os.fdopen(trusted.create(name, here), "wb") as file:
            file.write(blob.data)
    if len(_written) >= _WRITTEN_MAX:
        _written.clear()
    _written[folder, blob.sha256] = name  # not before it is whole
