"""`llm-audit ui` as a program: how it ends."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import PATIENCE

from llm_audit import embedded

pytest.importorskip("uvicorn")
pytest.importorskip("typer")

OPENER = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
)


@contextmanager
def started(url: str, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start it on a MongoDB."""
    ours = {"LLM_AUDIT_MONGO_URL": url, "LLM_AUDIT_SPOOL_DIR": str(folder / "spool")}
    with subprocess.Popen(
        [sys.executable, "-m", "llm_audit.cli", "ui", "--port", "0", *options],
        env={**os.environ, **ours},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as viewer:
        try:
            yield viewer
        finally:
            viewer.kill()


def test_ctrl_c_ends_it_though_mongodb_lets_a_page_wait(tmp_path: Path) -> None:
    """It says nothing, and its exit code is that of any program that Ctrl-C has ended."""
    with (
        embedded.mongod() as mongod,
        started(mongod.url, tmp_path) as viewer,
        ThreadPoolExecutor() as executor,
    ):
        assert isinstance(mongod, embedded.Mongod)
        assert viewer.stdout is not None
        address = viewer.stdout.readline().strip()
        assert "<h1>Overview</h1>" in OPENER.open(address).read().decode()
        os.kill(mongod.pid, signal.SIGSTOP)
        try:
            page, doctor = (
                executor.submit(OPENER.open, f"{address.partition('?')[0]}{path}", None, PATIENCE)
                for path in ("calls", "delivery?format=json")
            )
            with pytest.raises(TimeoutError):
                page.result(0.5)
            viewer.send_signal(signal.SIGINT)
            _, complaints = viewer.communicate(timeout=PATIENCE)
        finally:
            os.kill(mongod.pid, signal.SIGCONT)
        assert (viewer.returncode, complaints) == (128 + signal.SIGINT, "")
        assert page.exception() is not None
        assert doctor.exception() is not None
