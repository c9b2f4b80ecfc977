import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from llm_audit.errors import ConfigurationError, LLMAuditError, UnavailableError
from llm_audit.settings import Settings
from llm_audit.store.answers.plain_errors import plain_errors


@pytest.mark.parametrize(
    ("code", "is_state"), [(6, True), (133, True), (262, True), (11600, True), (20, False)]
)
def test_a_state_is_no_refusal(code: int, is_state: bool) -> None:
    """What a router says of members that it cannot reach is like not reaching MongoDB oneself."""
    with pytest.raises(LLMAuditError) as raised, plain_errors(Settings()):
        raise OperationFailure("", code)

    assert isinstance(raised.value, UnavailableError) is is_state


@pytest.mark.parametrize(
    "url", ["mongodb://root:pa/s3cret@mongo:27017/", "mongodb://root:12/s3cret@mongo/db"]
)
def test_a_wrong_url_is_not_quoted(url: str) -> None:
    """The driver takes a part of a password that is not encoded for the name of a database."""
    settings = Settings(mongo_url=url)
    with (
        pytest.raises(ConfigurationError, match="percent-encoded") as raised,
        plain_errors(settings),
    ):
        MongoClient(url)

    assert "s3cret" not in str(raised.value)
