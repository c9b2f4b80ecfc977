"""Whom the commands ask, and ids that are not there with those near them."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm_audit.cli.exits import NAME, NotFoundError
from llm_audit.display import figures
from llm_audit.queries.steps import Document
from llm_audit.settings import get_settings

if TYPE_CHECKING:  # `llm-audit --help` needs no driver
    from pymongo.collection import Collection

    from llm_audit.queries.lookup import Missing
    from llm_audit.queries.repository import SyncLLMCallRepository
    from llm_audit.queries.steps import Steps

    Documents = Collection[dict[str, Any]]

_COMMANDS = {  # that take an id
    "call": "show",
    "trace": "trace",
    "session": "session",
    "task": "task",
    "user": "calls --user",
    "company": "calls --company",
}


def repository() -> "SyncLLMCallRepository":
    """Return whom to ask, for a with block."""
    from llm_audit.queries.repository import SyncLLMCallRepository

    return SyncLLMCallRepository()


@contextmanager
def collection_of_calls() -> "Iterator[Documents]":
    """Connect to the collection in the settings, for what is no question about calls.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us do what was asked.
        ConfigurationError: A setting names what cannot be.
        LLMAuditError: MongoDB refuses what was asked of it.
    """
    from llm_audit.store.answers.plain_errors import plain_errors

    with plain_errors(get_settings()), repository() as calls:
        yield calls.collection


def find_call(given: str) -> "Steps[Document]":
    """Return the call with an id, or whose id alone begins so.

    Raises:
        NotFoundError: There is none, or there are several.
    """
    from llm_audit.queries import lookup

    found = yield from lookup.find_call(given)
    if isinstance(found, lookup.Missing):
        raise _not_found(found)
    return found


def not_found(field: str, given: str) -> "Steps[NotFoundError]":
    """Return the error for an id that nothing has: what else has it, or the ids near it.

    Args:
        field: Where it would be.
        given: The id.
    """
    from llm_audit.queries import lookup

    return _not_found((yield from lookup.missing(field, given)))


def _not_found(missing: "Missing") -> NotFoundError:
    kind, given = missing.kind, missing.given
    if missing.several:
        return NotFoundError(
            f"The ids of several {kind}s begin with {given!r:.50}: {_named(missing.several)}. Give "
            "more of it."
        )
    if missing.other:
        other, its_id = missing.other
        name = f"call of the {other} {its_id}" if missing.of_call else other
        return NotFoundError(f"{given} is a {name}, no {kind}: {_in_shell(other, its_id)}")
    near = f" Near it: {_named(missing.near)}." if missing.near else ""
    where = f"{get_settings().database}.{get_settings().collection}"
    return NotFoundError(f"There is no {kind} {given!r:.80} in {where}.{near}")


def _in_shell(kind: str, given: str) -> str:
    """Return a command line that can be pasted, whatever was recorded as an id."""
    command, quoted = _COMMANDS[kind], shlex.quote(figures.cell(given))
    if not given.startswith("-"):
        return f"{NAME} {command} {quoted}"
    return f"{NAME} {command}={quoted}" if "--" in command else f"{NAME} {command} -- {quoted}"


def _named(ids: Sequence[str]) -> str:
    from llm_audit.queries.lookup import NEAR

    names = ", ".join(ids)
    return names if len(ids) < NEAR else f"{names} ..."
