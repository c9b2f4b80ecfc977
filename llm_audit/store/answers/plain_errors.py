"""What somebody who asks MongoDB is told where it does not answer: what is wrong, and the fix.

Recording only has to know that MongoDB is not available now, see `connection.reaching`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from bson.errors import BSONError
from pymongo import errors as driver
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection

from llm_audit.errors import (
    ConfigurationError,
    LLMAuditError,
    TookTooLongError,
    UnavailableError,
    UsageError,
)
from llm_audit.settings import Settings
from llm_audit.settings.mongo_url import MONGO_URL_SHAPE
from llm_audit.store.answers.codes import (
    INVALID_NAMESPACE,
    UNAUTHORIZED,
    describe,
    is_a_state,
    is_wrong_password,
)
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import fix_of, is_unsupported, refuses_retries
from llm_audit.store.connection import UNUSABLE
from llm_audit.store.loops import LoopClient

# MongoDB's texts go on with the whole command, which may hold content.
_READING = ("aggregate", "count", "distinct", "find", "getMore", "listCollections", "listIndexes")
_FORBIDDEN = re.compile(r"not authorized on (\S+) to execute command \{ (\w+)")
_URL = "LLM_AUDIT_MONGO_URL, --mongo-url or llm_audit.configure(mongo_url=...)"

# Who is asked: the collection in the settings, or one of a user's own client.
Asked: TypeAlias = Settings | Collection[dict[str, Any]] | AsyncCollection[dict[str, Any]]


class _Place(NamedTuple):
    """Where MongoDB is, and what says so."""

    hosts: str
    collection: str
    url: str
    is_srv: bool = False

    def __str__(self) -> str:
        return f"MongoDB at {self.hosts or 'mongo_url'}"


@contextmanager
def plain_errors(asked: Asked) -> Iterator[None]:
    """Turn an error of the driver into one line, without credentials or documents in it.

    Args:
        asked: Where MongoDB is.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us do what was asked.
        ConfigurationError: A setting names what cannot be: mongo_url, database or collection.
        TookTooLongError: The time for it was over.
        LLMAuditError: MongoDB refuses what was asked of it.
    """
    try:
        yield
    except (driver.PyMongoError, BSONError) as error:
        raise explained(asked, error) from None
    except UnavailableError as error:
        # where recording takes part, the driver's own error is behind that
        cause = error.__context__
        if isinstance(cause, (driver.PyMongoError, *UNUSABLE)):
            raise explained(asked, cause) from None
        raise _unavailable(_place(asked), str(error)) from None


def explained(asked: Asked, error: Exception) -> LLMAuditError:
    """Return the error that says in one sentence what is wrong, and how to fix it.

    Args:
        asked: Where MongoDB is.
        error: Of the driver; or what a client raises that cannot use mongo_url.
    """
    place = _place(asked)
    plain: LLMAuditError
    match error:
        case driver.PyMongoError() if is_wrong_password(error):
            plain = UnavailableError(
                f"{place} does not let us in: {describe(error)}. Fix {place.url}."
            )
        case driver.ExecutionTimeout():
            plain = TookTooLongError(
                f"{place} stopped working on it when its time was over: ask about fewer calls, by "
                "a filter or a shorter time range, or raise query_timeout_seconds."
            )
        case driver.OperationFailure():
            plain = _refused(place, error)
        case driver.InvalidName():
            name = "database" if str(error).startswith("database") else "collection"
            plain = ConfigurationError(
                f"The setting {name} is wrong ({error}): fix LLM_AUDIT_{name.upper()} or --{name}."
            )
        case _ if _is_of_the_url(place, error):
            # of a URL that it cannot take apart, the driver may quote a part of the password
            reason = error if place.hosts else MONGO_URL_SHAPE
            plain = ConfigurationError(
                f"The setting mongo_url is wrong ({reason}): fix {place.url}."
            )
        case driver.InvalidOperation():
            plain = UsageError(
                f"The client that reads {place.collection} was closed: give another one."
            )
        case driver.PyMongoError():
            plain = _unavailable(place, describe(error))
        case _:
            kind = type(error).__name__
            plain = LLMAuditError(f"{place} holds what is no BSON that can be read ({kind}).")
    return plain


def _refused(place: _Place, error: driver.OperationFailure) -> LLMAuditError:
    if error.code == UNAUTHORIZED:
        return UnavailableError(f"{place} does not let us: {_missing_right(place, error)}")
    if refuses_retries(error):
        return UnavailableError(f"{place} takes no writes ({told(error)}): {fix_of(error)}")
    if is_a_state(error):
        return _unavailable(place, describe(error))
    if error.code == INVALID_NAMESPACE:
        return ConfigurationError(
            f"{place.collection} cannot be the name of a collection: fix the setting database or "
            "collection."
        )
    if is_unsupported(error):
        return LLMAuditError(
            f"{place} does not have what this takes ({told(error)}): see the page about servers "
            "like MongoDB."
        )
    return LLMAuditError(
        f"{place} refuses: {(error.details or {}).get('codeName') or told(error)}."
    )


def _place(asked: Asked) -> _Place:
    if isinstance(asked, Settings):
        is_srv = asked.mongo_url.get_secret_value().startswith("mongodb+srv:")
        return _Place(asked.hosts(), f"{asked.database}.{asked.collection}", _URL, is_srv)
    client = asked.database.client
    if isinstance(client, LoopClient):
        return _place(client.settings)
    servers = client.topology_description.server_descriptions()
    hosts = ",".join(sorted(f"{host}:{port}" for host, port in servers))
    return _Place(hosts, asked.full_name, "the URL of the client that was given")


def _unavailable(place: _Place, reason: str) -> UnavailableError:
    return UnavailableError(
        f"{place} cannot be asked ({reason}): start it, or say where it is with {place.url}."
    )


def _missing_right(place: _Place, error: driver.OperationFailure) -> str:
    """Name the right that a user lacks, as far as MongoDB says it."""
    found = _FORBIDDEN.search(str((error.details or {}).get("errmsg", "")))
    if found is None:
        return f"it wants a user who has the right. Fix {place.url}."
    role = "read" if found[2] in _READING else "readWrite"
    return (
        f"the user has no right to {found[2]} in the database {found[1]}. Let an "
        f"administrator grant a role that has it, such as {role} there."
    )


def _is_of_the_url(place: _Place, error: Exception) -> bool:
    """Tell whether mongo_url is wrong; a name that was not found is reported so, too."""
    if isinstance(error, driver.ConfigurationError):
        return not place.is_srv or isinstance(error, driver.InvalidURI)
    return isinstance(error, UNUSABLE)
