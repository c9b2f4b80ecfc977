"""What somebody who asks MongoDB is told where it does not answer: what is wrong, and the mend.

Recording only has to know that MongoDB is not available now, see `connection.reaching`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from bson.errors import BSONError
from pymongo import errors as driver

from llm_audit.errors import ConfigurationError, LLMAuditError, UnavailableError
from llm_audit.settings import Settings
from llm_audit.settings.mongo_url import MONGO_URL_SHAPE
from llm_audit.store.codes import (
    INVALID_NAMESPACE,
    UNAUTHORIZED,
    describe,
    is_a_state,
    is_wrong_password,
)

# MongoDB's texts go on with the whole command, which may hold content.
_FORBIDDEN = re.compile(r"not authorized on (\S+) to execute command \{ (\w+)")
_URL = "LLM_AUDIT_MONGO_URL, --mongo-url or llm_audit.configure(mongo_url=...)"


@contextmanager
def asking(settings: Settings) -> Iterator[None]:
    """Turn an error of the driver into one line, without credentials or documents in it.

    Args:
        settings: Where MongoDB is.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us do what was asked.
        ConfigurationError: A setting names what cannot be: mongo_url, database or collection.
        LLMAuditError: MongoDB refuses what was asked of it.
    """
    try:
        yield
    except (driver.PyMongoError, BSONError) as error:
        raise explained(settings, error) from None
    except UnavailableError as error:
        # where recording takes part, the driver's own error is behind that
        cause = error.__context__
        if isinstance(cause, driver.PyMongoError | ValueError | OSError):
            raise explained(settings, cause) from None
        raise _unavailable(settings, str(error)) from None


def explained(settings: Settings, error: Exception) -> LLMAuditError:
    """Return the error that says in one sentence what is wrong, and how to fix it.

    Args:
        settings: Where MongoDB is.
        error: Of the driver; or what a client raises that cannot use mongo_url.
    """
    match error:
        case driver.PyMongoError() if is_wrong_password(error):
            return UnavailableError(
                f"{_place(settings)} does not let us in: {describe(error)}. Mend {_URL}."
            )
        case driver.OperationFailure():
            return _refused(settings, error)
        case driver.InvalidName():
            name = "database" if str(error).startswith("database") else "collection"
            return ConfigurationError(
                f"The setting {name} is wrong ({error}): mend LLM_AUDIT_{name.upper()} or --{name}."
            )
        case driver.ConfigurationError() | ValueError() | OSError() if not _is_dns(settings, error):
            # of a URL that it cannot take apart, the driver may quote a part of the password
            reason = error if settings.hosts() else MONGO_URL_SHAPE
            return ConfigurationError(f"The setting mongo_url is wrong ({reason}): mend {_URL}.")
        case driver.PyMongoError():
            return _unavailable(settings, describe(error))
    return LLMAuditError(
        f"{_place(settings)} holds what is no BSON that can be read ({type(error).__name__})."
    )


def _refused(settings: Settings, error: driver.OperationFailure) -> LLMAuditError:
    where = _place(settings)
    if error.code == UNAUTHORIZED:
        return UnavailableError(f"{where} does not let us: {_missing_right(error)}")
    if is_a_state(error):
        return _unavailable(settings, describe(error))
    if error.code == INVALID_NAMESPACE:
        return ConfigurationError(
            f"{settings.database}.{settings.collection} cannot be the name of a collection: mend "
            "the setting database or collection."
        )
    return LLMAuditError(
        f"{where} refuses: {(error.details or {}).get('codeName') or describe(error)}."
    )


def _place(settings: Settings) -> str:
    return f"MongoDB at {settings.hosts() or 'mongo_url'}"


def _unavailable(settings: Settings, reason: str) -> UnavailableError:
    return UnavailableError(
        f"{_place(settings)} cannot be asked ({reason}): start it, or say where it is with {_URL}."
    )


def _missing_right(error: driver.OperationFailure) -> str:
    """Name the right that a user lacks, as far as MongoDB says it."""
    found = _FORBIDDEN.search(str((error.details or {}).get("errmsg", "")))
    if found is None:
        return f"it wants a user who has the right. Mend {_URL}."
    return (
        f"the user in mongo_url has no right to {found[2]} in the database {found[1]}. Let an "
        "administrator grant a role that has it, such as readWrite there."
    )


def _is_dns(settings: Settings, error: Exception) -> bool:
    """Tell whether a name was not found, which the driver reports as a wrong URL."""
    is_srv = settings.mongo_url.get_secret_value().startswith("mongodb+srv:")
    is_url = isinstance(error, driver.InvalidURI)
    return is_srv and isinstance(error, driver.ConfigurationError) and not is_url
