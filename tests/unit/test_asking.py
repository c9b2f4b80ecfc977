import pytest
from pymongo.errors import OperationFailure

from llm_audit.errors import LLMAuditError, UnavailableError
from llm_audit.recorder.asking import asking
from llm_audit.settings import Settings


@pytest.mark.parametrize(
    ("code", "is_state"), [(6, True), (133, True), (262, True), (11600, True), (20, False)]
)
def test_a_state_is_no_refusal(code: int, is_state: bool) -> None:
    """What a router says of members that it cannot reach is like not reaching MongoDB oneself."""
    with pytest.raises(LLMAuditError) as raised, asking(Settings()):
        raise OperationFailure("", code)

    assert isinstance(raised.value, UnavailableError) is is_state
