"""What the tests of faults share: servers that may be harmed, and chance that can be repeated."""

import random
import time
import uuid
from collections.abc import Iterator

import pymongo
import pytest
from faults.harmed import Harmed
from waiting import Recording

from llm_audit import embedded


@pytest.fixture
def chance() -> random.Random:
    """Give random numbers; pytest shows the seed where the test has failed."""
    seed = time.time_ns()
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Mongod]:
    """Run a mongod that may be harmed."""
    with embedded.Mongod() as server:
        yield server


@pytest.fixture
def harmed(recording: Recording, server: embedded.Mongod) -> Iterator[Harmed]:
    """Give a database of the test's own on the server that may be harmed."""
    with pymongo.MongoClient(server.url, tz_aware=True) as client:
        name = f"test_{uuid.uuid4().hex}"
        yield Harmed(server, client[name]["llm_calls"], recording)
        client.drop_database(name)
