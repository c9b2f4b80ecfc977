"""A server that tests may kill, in place of the shared one."""

import uuid
from collections.abc import Iterator

import pymongo
import pytest
from waiting import Calls, Recording

from llm_audit import embedded
from llm_audit.settings import Settings


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Mongod]:
    """Run a mongod that may be killed."""
    with embedded.Mongod() as server:
        yield server


@pytest.fixture
def calls(server: embedded.Mongod) -> Iterator[Calls]:
    """Give the calls in a database of the test's own on the server that may be killed."""
    if server.pid is None:
        server.restart()
    with pymongo.MongoClient(server.url, tz_aware=True) as client:
        yield client[f"test_{uuid.uuid4().hex}"]["llm_calls"]


@pytest.fixture
def settings(recording: Recording, server: embedded.Mongod, calls: Calls) -> Settings:
    """Record onto the server that may be killed."""
    return recording(
        mongo_url=server.url, database=calls.database.name, recovery_interval_seconds=0.1
    )
