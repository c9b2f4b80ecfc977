"""The pytest plugin: fixtures for tests of programs that record.

pytest imports this module in every project of an environment that has llm-audit; everything else
is imported by the fixtures.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llm_audit.testing.mongod import FreshDatabase
    from llm_audit.testing.records import RecordedCalls


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Deliver what was recorded: other plugins end the run with os._exit, and no exit handler."""
    if "llm_audit.logger" in sys.modules:
        from llm_audit import causes, shutdown

        shutdown(ended_by=causes.PROCESS_EXIT)


@pytest.fixture
def llm_audit_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RecordedCalls"]:
    """Give the calls that this test has recorded so far, oldest first; no server is needed.

    They are read from the journal, and shipped nowhere. Mistakes in using the API raise.
    """
    from llm_audit.testing.records import recorded_nowhere

    with recorded_nowhere(tmp_path_factory.mktemp("llm-audit-spool")) as calls:
        yield calls


@pytest.fixture(scope="session")
def _llm_audit_server_url() -> Iterator[str]:
    """Run a mongod, or take the server that LLM_AUDIT_MONGO_URL names."""
    from llm_audit import embedded

    with embedded.mongod() as server:
        yield server.url


@pytest.fixture
def llm_audit_mongod(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["FreshDatabase"]:
    """Record into a fresh database on a real MongoDB, and give it; it is dropped after the test.

    Mistakes in using the API raise.
    """
    from llm_audit.testing.mongod import fresh_database

    if "llm_audit_records" in request.fixturenames:
        pytest.fail(
            "llm_audit_records ships nothing, so nothing would arrive at llm_audit_mongod: "
            "ask for one of them in a test.",
            pytrace=False,
        )
    url = request.getfixturevalue("_llm_audit_server_url")
    with fresh_database(url, tmp_path_factory.mktemp("llm-audit-spool")) as database:
        yield database
