"""What waits as a file in the spool, as MongoDB does not even take it into `llm_audit_rejected`."""

import fcntl
import os
import re
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import bson
from bson.codec_options import CodecOptions
from pymongo.errors import PyMongoError

from llm_audit.errors import UnavailableError, let_through, log_once
from llm_audit.journal.records import RECORD_MAX_BYTES, InvalidRecordError
from llm_audit.journal.spool.folder import ENTRIES_MAX, SUFFIX, rejected_in
from llm_audit.runtime import trusted
from llm_audit.runtime.trusted import DoubtfulError
from llm_audit.store.connection import Connection
from llm_audit.store.refused.keeping import insert

KEPT_MAX_BYTES = 2 * RECORD_MAX_BYTES
_KEPT_TYPES: dict[str, type] = {
    **dict.fromkeys(("_id", "call_id", "process_nonce", "collection", "reason", "detail"), str),
    "media": list,
    "record": bytes,
}
_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)


def files(target_folder: Path) -> list[Path]:
    """Return the files in the spool that hold what MongoDB would not take in any way."""
    folder = rejected_in(target_folder)
    try:
        with trusted.folder(folder) as rejected:
            found = [
                name
                for name, status in islice(trusted.entries(rejected), ENTRIES_MAX)
                if name.endswith(SUFFIX) and trusted.doubt_of_file(status, rejected) is None
            ]
    except (FileNotFoundError, NotADirectoryError, DoubtfulError):
        return []
    return [folder / name for name in sorted(found)]


def media_folder(path: Path) -> Path:
    """Return where the media of a record lie that waits in a file."""
    return path.with_suffix(".media")


def bring_in(connection: Connection, target_folder: Path) -> int:
    """Bring into MongoDB what had to wait in the spool; return how much still has to.

    Raises:
        PyMongoError: MongoDB does not answer now; call again.
        UnavailableError: As well.
    """
    left = 0
    for path in files(target_folder):
        try:
            with (
                trusted.folder(path.parent) as rejected,
                os.fdopen(trusted.open_file(path.name, rejected), "rb") as file,
            ):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.fstat(file.fileno()).st_nlink:
                    continue  # another process was faster
                document = _document_in(file)
                if insert(connection.rejected(), [document], media_folder(path)):
                    left += 1
                    continue
                trusted.remove_file(path.name, rejected)
                trusted.remove_folder(media_folder(path).name, rejected)
        except FileNotFoundError:
            continue
        except BlockingIOError:
            left += 1  # another process is at it: what it brings may be sent again at once
        except (PyMongoError, UnavailableError):
            raise
        except BaseException as error:  # noqa: BLE001  (the others do not wait for it)
            let_through(error)
            log_once(f"{path} cannot be read ({type(error).__name__}): left as it is.")
            left += 1
    return left


def _document_in(file: BinaryIO) -> dict[str, Any]:
    """Return the document that waits in a file, if all that is read of it is what it has to be.

    Raises:
        InvalidRecordError: It is something else.
        BSONError: As well.
    """
    data = file.read(KEPT_MAX_BYTES + 1)
    if len(data) > KEPT_MAX_BYTES:
        raise InvalidRecordError("it is too long")
    document = bson.decode(data, _AWARE)
    typed = all(type(document.get(name, kind())) is kind for name, kind in _KEPT_TYPES.items())
    hashed = typed and all(map(_is_sha256, document.get("media", ())))
    named = not any(name.startswith("$") or "." in name for name in document)
    if not (hashed and named and "_id" in document):
        raise InvalidRecordError("it is nothing that was refused")
    return document


def _is_sha256(name: object) -> bool:
    return type(name) is str and re.fullmatch("[0-9a-f]{64}", name) is not None
