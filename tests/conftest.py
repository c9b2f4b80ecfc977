"""What every test may ask for: real servers, a fresh database, an environment of its own."""

import gc
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pymongo
import pytest
import warm
from patience import PATIENCE, TEST_PATIENCE
from pymongo.collection import Collection
from pymongo.database import Database

import llm_audit
from llm_audit import embedded
from llm_audit.errors import forget_logged
from llm_audit.recorder import process
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.settings import Settings, get_settings, reset_settings

MEASURED = {"unit", "integration"}  # folders
pytest_plugins = ["faults.table", "forked"]  # for the process that the run was started in

# Whoever is started in the background by a shell ignores Ctrl-C, and so do all its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("PYTEST_TIMEOUT", str(TEST_PATIENCE))
sys.dont_write_bytecode = False  # else each of some hundred processes compiles all that it imports
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# eventlet's own DNS imports httpcore2, and that trio where it is, which fails on eventlet's sockets
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
for name in [name for name in os.environ if name.startswith("LLM_AUDIT_")]:
    del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected: what they are made of stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)  # Hypothesis has marked its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage where inputs are many or processes others: it would double the time."""
    for item in items:
        if item.get_closest_marker("hypothesis") or MEASURED.isdisjoint(item.path.parts):
            item.add_marker("no_cover")


@pytest.fixture(scope="session", autouse=True)
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have HTTP clients trust one authority; to read all of them takes each client 20 ms."""
    if find_spec("certifi") is None:  # then there are no clients
        yield
        return
    import certifi

    _, begin, rest = certifi.contents().partition("-----BEGIN")
    body, end, _ = rest.partition("END CERTIFICATE-----\n")
    bundle = tmp_path_factory.mktemp("authorities") / "one.pem"
    bundle.write_text(begin + body + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(bundle))
        yield


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test, and every process it starts, away from the user's own files."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_pythons(home: None, authorities: None) -> Iterator[None]:
    """Have processes of tests forked from some that have imported everything."""
    assert home is authorities is None
    with warm.pythons():
        yield


@pytest.fixture(scope="session")
def mongod() -> Iterator[embedded.Mongod]:
    """Run one standalone mongod, shared by the tests of a process."""
    with embedded.Mongod() as server:
        yield server


@pytest.fixture(scope="session")
def replica_set() -> Iterator[embedded.Mongod]:
    """Run one replica set, shared by the tests that need transactions or change streams."""
    with embedded.Mongod(replica_set=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run one redis-server, shared by the tests of a process."""
    with embedded.redis_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def mongo_client(mongod: embedded.Mongod) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """Connect to the shared mongod."""
    with pymongo.MongoClient(mongod.url, tz_aware=True) as client:
        yield client


@pytest.fixture
def database(
    mongo_client: pymongo.MongoClient[dict[str, Any]],
) -> Iterator[Database[dict[str, Any]]]:
    """Give the test a database of its own on the shared mongod, dropped afterwards."""
    fresh = mongo_client[f"test_{uuid.uuid4().hex}"]
    yield fresh
    mongo_client.drop_database(fresh)


@pytest.fixture
def calls(database: Database[dict[str, Any]]) -> Collection[dict[str, Any]]:
    """Give the collection of calls in the test's own database."""
    return database["llm_calls"]


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Forget settings and what was logged after each test, and let its threads end.

    One that still looks for a server which is not there would complain in the next test's log.
    """
    yield
    llm_audit.shutdown(timeout_seconds=0)
    for thread in threading.enumerate():
        if thread.name == "llm-audit-shipper":
            thread.join(PATIENCE)
    reset_settings()
    forget_logged()
    process._Home.stopped, process._Home.last_stop = None, FlushResult(0)


@pytest.fixture
def recording(
    mongod: embedded.Mongod, database: Database[dict[str, Any]], tmp_path: Path
) -> Iterator[Callable[..., Settings]]:
    """Record strictly into the test's own database from a fresh spool; call it to change settings.

    What was recorded before is then shipped as at an exit. Indexes are left out: they take longer
    than most tests.
    """

    def configure(**changes: Any) -> Settings:
        usual = {
            "mongo_url": mongod.url,
            "database": database.name,
            "create_collection": False,
            "spool_dir": tmp_path / "spool",
            "strict": True,
        }
        process.stop()
        reset_settings()
        llm_audit.configure(**(usual | changes))
        return get_settings()

    configure()
    yield configure
    llm_audit.shutdown(timeout_seconds=2)
