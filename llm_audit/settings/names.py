"""Names of databases and collections: those that MongoDB takes, and those that are ours already."""

PROCESSES = "llm_audit_processes"  # a document for each process that records, see processes.py
VERDICTS = "llm_audit_verdicts"  # a document for each attempt of a task that was ended from outside
REJECTED = "llm_audit_rejected"  # a document for each record that MongoDB refused, see rejected.py
FILES, CHUNKS = "fs.files", "fs.chunks"  # GridFS: the media of all calls in a database

_TAKEN = frozenset({PROCESSES, VERDICTS, REJECTED, FILES, CHUNKS})
_MONGODBS_OWN = frozenset({"admin", "config", "local"})
# https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions, of any platform
_NO_DATABASE = frozenset('/\\. "$*<>:|?\0')
_DATABASE_MAX_BYTES = 63
_COLLECTION_MAX_BYTES = 120  # so that any name of a database and a dot fit before it


def legal_database(name: str) -> str:
    """Return the name of a database for calls.

    Raises:
        ValueError: It cannot be one.
    """
    if not name.strip():
        raise ValueError("the name of a database cannot be empty")
    if wrong := sorted(_NO_DATABASE.intersection(name)):
        raise ValueError(f"no database has {', '.join(map(repr, wrong))} in its name")
    if len(name.encode()) > _DATABASE_MAX_BYTES:
        raise ValueError(f"the name of a database has at most {_DATABASE_MAX_BYTES} bytes")
    if name.lower() in _MONGODBS_OWN:
        raise ValueError(f"{name} is a database of MongoDB's own: name another")
    return name


def legal_collection(name: str) -> str:
    """Return the name of a collection for calls.

    Raises:
        ValueError: It cannot be one, or is that of another of ours.
    """
    if not name.strip():
        raise ValueError("the name of a collection cannot be empty")
    if "$" in name or "\0" in name or ".." in name or name[0] == "." or name[-1] == ".":
        raise ValueError("no collection has $ or a null byte in its name, or begins or ends with .")
    if len(name.encode()) > _COLLECTION_MAX_BYTES:
        raise ValueError(f"the name of a collection has at most {_COLLECTION_MAX_BYTES} bytes here")
    if name in _TAKEN or name.startswith(("system.", "fs.")):
        raise ValueError(f"{name} holds something else than calls: name another collection")
    return name
