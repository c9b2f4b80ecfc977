"""One Chromium, one viewer and one mongod for all tests here: `make browser`."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pymongo
import pytest
import viewer_scenes
from browser_tabs import Opened, Tab
from patience import PATIENCE
from pymongo.database import Database

from llm_audit import embedded

CHROMIUM = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")

if find_spec("playwright") is None or "PYTEST_XDIST_WORKER" in os.environ:
    collect_ignore_glob = ["test_*.py"]  # each process would start a browser of its own


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave them out where tests run in several processes, for the same reason."""
    return True if config.getoption("forks") else None


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Run a browser."""
    path = next(filter(None, (shutil.which(name) for name in CHROMIUM if name)), None)
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium, or CHROMIUM=/path/to/one")
    from playwright.sync_api import sync_playwright

    # names that other sites' pages could have resolve to us, of which the viewer knows one
    flags = ["--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        browser.new_context().close()  # the first one takes a while
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scenes(mongo_client: pymongo.MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """Store what fills every page."""
    database = mongo_client["viewer_scenes"]
    viewer_scenes.fill(database, datetime.now(UTC))
    yield database
    mongo_client.drop_database(database)


@pytest.fixture(scope="session")
def address(
    mongod: embedded.Mongod,
    scenes: Database[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Run `llm-audit ui` over the scenes, and give the address that it prints."""
    ours = {
        "LLM_AUDIT_MONGO_URL": mongod.url,
        "LLM_AUDIT_DATABASE": scenes.name,
        "LLM_AUDIT_SPOOL_DIR": str(tmp_path_factory.mktemp("viewer") / "spool"),
        "TZ": "UTC",
    }
    command = [str(Path(sys.executable).with_name("llm-audit")), "ui", "--port", "0", "--annotate"]
    command += ["--allowed-host", "shop.test"]
    with subprocess.Popen(
        command, env={**os.environ, **ours}, stdout=subprocess.PIPE, text=True
    ) as viewer:
        assert viewer.stdout is not None
        printed = viewer.stdout.readline()
        found = re.search(r"http://\S+", printed)
        assert found, printed
        yield found[0]
        viewer.terminate()
        viewer.wait(PATIENCE)


@pytest.fixture(scope="session")
def session_cookies(chromium: Any, address: str) -> list[Any]:
    """Log in, once."""
    context = chromium.new_context()
    context.new_page().goto(address)
    cookies: list[Any] = context.cookies()
    context.close()
    return [cookie for cookie in cookies if cookie["httpOnly"]]


@pytest.fixture
def opened(chromium: Any, address: str, session_cookies: list[Any]) -> Iterator[Opened]:
    """Give what opens a tab that is logged in, with these options of a context."""
    with ExitStack() as stack:

        def open_tab(base: str = address.partition("?")[0], **options: Any) -> Tab:
            options = {"timezone_id": "UTC", "locale": "en-GB"} | options
            context = chromium.new_context(base_url=base, **options)
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE * 1_000)
            context.add_cookies(session_cookies)
            return Tab(context)

        yield open_tab
