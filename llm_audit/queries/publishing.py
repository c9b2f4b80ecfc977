"""Publishing the views in a database, who may read them, and who may record."""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from pymongo.database import Database
from pymongo.errors import OperationFailure

from llm_audit.errors import UsageError
from llm_audit.queries.views import VIEWS
from llm_audit.settings.names import CHUNKS, FILES, PROCESSES, REJECTED, VERDICTS
from llm_audit.store.answers.codes import INDEX_NOT_FOUND, NAMESPACE_EXISTS
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import VIEWS_INDEX, view_indexes

Change: TypeAlias = Literal["created", "replaced", "unchanged"]


def create_views(database: Database[dict[str, Any]], collection: str) -> dict[str, Change]:
    """Publish the views of a collection of calls, with the index that dates in them need.

    Args:
        database: Where the calls are; the views are put beside them.
        collection: The name of the collection of calls.

    Returns:
        For each view whether it was created, replaced because its definition has changed, or left.

    Raises:
        UsageError: There is no such collection, or something that is no view has a view's name.
            Nothing was changed.
        pymongo.errors.PyMongoError: MongoDB cannot be reached, or does not let us.
    """
    existing = _existing(database, [collection, *VIEWS])
    if existing.pop(collection, {}).get("type") != "collection":
        raise UsageError(
            f"collection: there is no collection {collection} in the database {database.name}; "
            "fix its name, or let llm_audit.init() create it."
        )
    for name, found in existing.items():
        if found["type"] != "view":
            raise UsageError(
                f"{name} in the database {database.name} is a {found['type']} and no view: "
                "rename it to have the views."
            )
        if found["options"]["viewOn"] != collection:
            raise UsageError(
                f"{name} in the database {database.name} is a view of "
                f"{found['options']['viewOn']}, not of {collection}: drop it to have this one."
            )
    ensure(database, collection, view_indexes())  # one of the user's own serves as well
    changes: dict[str, Change] = {}
    for name, definition in VIEWS.items():
        wanted: dict[str, Any] = {"viewOn": collection, "pipeline": definition()}
        if name not in existing and not _create(database, name, wanted):
            existing |= _existing(database, [name])  # another process was faster
        if name not in existing:
            changes[name] = "created"
        elif existing[name]["options"] != wanted:
            database.command("collMod", name, **wanted)
            changes[name] = "replaced"
        else:
            changes[name] = "unchanged"
    return changes


def drop_views(database: Database[dict[str, Any]], collection: str) -> list[str]:
    """Drop the views of a collection of calls, and the index that was created with them.

    Args:
        database: Where they are.
        collection: The name of the collection of calls; what has the name of a view and does not
            read this collection stays.

    Returns:
        The names of the views that were dropped.
    """
    dropped = [
        name
        for name, found in _existing(database, VIEWS).items()
        if found["type"] == "view" and found["options"]["viewOn"] == collection
    ]
    for name in dropped:
        database.drop_collection(name)
    if VIEWS_INDEX in database[collection].index_information():
        try:
            database[collection].drop_index(VIEWS_INDEX)
        except OperationFailure as error:
            if error.code != INDEX_NOT_FOUND:  # else another process was faster
                raise
    return dropped


def analyst_role(database: str, name: str = "llm_audit_analyst") -> dict[str, Any]:
    """Return the `createRole` command for whoever may read the views and nothing else.

    Beside that the role sees how the collections are called and how large the database is, without
    which Compass and Metabase refuse to connect.

    Args:
        database: The name of the database with the views, in which the command is to be run.
        name: Of the role.

    Returns:
        The command in plain JSON, e.g. for `db.runCommand` in mongosh.

    Raises:
        UsageError: A name is empty, which would mean every one.
    """
    _check_names(database, name)
    readable = [
        {"resource": {"db": database, "collection": view}, "actions": ["find"]} for view in VIEWS
    ]
    whole = {"db": database, "collection": ""}
    listed = {"resource": whole, "actions": ["listCollections", "dbStats"]}
    return {"createRole": name, "privileges": [*readable, listed], "roles": []}


def recorder_role(
    database: str, collection: str, name: str = "llm_audit_recorder"
) -> dict[str, Any]:
    """Return the `createRole` command for processes that record, ship, adopt and close, no more.

    They cannot remove a call, read a view, or make a collection or an index: whoever may do that
    runs `llm_audit.init()` or `llm-audit indexes --create` before. Nor can they remove expired
    media, or what was refused and has arrived since: `llm-audit doctor --clean` and `spool retry`
    are for somebody with `readWrite`.

    Args:
        database: The name of the database of the calls, in which the command is to be run.
        collection: The name of the collection of calls.
        name: Of the role.

    Returns:
        The command in plain JSON, e.g. for `db.runCommand` in mongosh.

    Raises:
        UsageError: A name is empty, which would mean every one.
    """
    _check_names(database, collection, name)
    actions = ["find", "insert", "update", "listIndexes"]
    privileges = [
        {"resource": {"db": database, "collection": each}, "actions": actions}
        for each in (collection, PROCESSES, VERDICTS, REJECTED, FILES, CHUNKS)
    ]
    return {"createRole": name, "privileges": privileges, "roles": []}


def _check_names(*names: str) -> None:
    if not all(name.strip() for name in names):
        raise UsageError("An empty name would give the rights on every database or collection.")


def _create(database: Database[dict[str, Any]], name: str, definition: dict[str, Any]) -> bool:
    """Create a view; return false if there is something of that name by now."""
    try:
        database.command("create", name, **definition)
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise
        return False
    return True


def _existing(
    database: Database[dict[str, Any]], names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    found = database.list_collections(filter={"name": {"$in": list(names)}})
    return {collection["name"]: dict(collection) for collection in found}
