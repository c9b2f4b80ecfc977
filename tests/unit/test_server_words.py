"""What servers say of a refusal is told, and never what they quote of calls and of questions."""

from typing import Any

from pymongo.errors import DuplicateKeyError, OperationFailure

from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import is_unsupported, refuses_pipelines, refuses_retries

SECRET = "Troubador"


def failed(text: str, code: int = 115) -> OperationFailure:
    details: dict[str, Any] = {"ok": 0.0, "code": code, "errmsg": text}
    return OperationFailure(f"{text}, full error: {details}", code, details)


def test_the_servers_own_words_are_told() -> None:
    """A refusal is named in full, with the operators and options in it."""
    for code, text in (
        (301, "Retryable writes are not supported"),
        (303, "Field 'storageEngine' is currently not supported"),
        (304, "Aggregation stage not supported: '$setWindowFields'"),
        (115, "Stage $lookup is not supported yet in native pipeline"),
        (2, "The 'expireAfterSeconds' option is supported on '_ts' field only."),
        (238, 'find: support for field "collation" is not implemented yet'),
        (8000, "CMD_NOT_ALLOWED: explain"),
    ):
        assert told(failed(text, code)) == f"OperationFailure, code {code}: {text}"
        assert is_unsupported(failed(text, code)), text


def test_no_content_is_told() -> None:
    """Whatever a server quotes, in whatever way, is left out."""
    for text in (
        f"Value '{SECRET}' is not supported",
        f"Value {SECRET} is not supported",
        f"Field names with dots are not supported: messages.{SECRET}",
        f"Document can't have $ prefixed field names: ${SECRET}",
        f"Document can't have $ prefixed field names: ${SECRET.lower()}",
        f'E11000 duplicate key error collection: d.c index: _id_ dup key: {{ _id: "{SECRET}" }}',
        f"not authorized on {SECRET} to execute command {{ insert: 'c', _id: '{SECRET}' }}",
        f"Error parsing date string '{SECRET} {SECRET.lower()}'; unexpected character",
        f"Failed to parse: {SECRET}: [ {SECRET} ]",
        f"unknown operator: {SECRET}\n{SECRET}",
        f"Details='Response status code: {SECRET}@{SECRET}:27017/{SECRET}'",
    ):
        for error in (failed(text), DuplicateKeyError(text, 11000, {"errmsg": text})):
            assert SECRET.lower() not in told(error).lower(), told(error)


def test_what_a_refusal_is_about() -> None:
    """Servers have many words for few things; a state of theirs is none of them."""
    for text in (
        "Retryable writes are not supported",
        "Transaction numbers are only allowed on a replica set member or mongos",
        'insert: support for field "txnNumber" is not implemented yet',
    ):
        assert refuses_retries(failed(text, 20))
    for text in (
        "BSON field 'update.updates.u' is the wrong type 'array', expected type 'object'",
        "update: field must be of BSON type object",
        "Pipeline updates are not supported",
    ):
        assert refuses_pipelines(failed(text, 9))
    assert not is_unsupported(failed("Document failed validation", 121))
    assert not refuses_pipelines(failed("Document failed validation", 121))
    assert not is_unsupported(failed("not allowed: the server is shutting down", 11600))
    assert not refuses_retries(failed("not authorized on d to execute command", 13))
