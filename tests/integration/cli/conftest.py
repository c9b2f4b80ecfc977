"""The command line in this process, on a test's own database."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from made_up_calls import Call, store
from pymongo.database import Database

from llm_audit import embedded
from llm_audit.recorder import process
from llm_audit.settings import reset_settings

cli = pytest.importorskip("llm_audit.cli")
pytest.importorskip("typer")


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    output: str
    errors: str

    @property
    def lines(self) -> list[str]:
        """What it printed, by lines."""
        return self.output.splitlines()


Shell = Callable[..., Ended]


@pytest.fixture
def shell(
    mongod: embedded.Mongod,
    database: Database[Call],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    """Give a function that runs a command and returns its exit code and what it printed."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", mongod.url)
    monkeypatch.setenv("LLM_AUDIT_DATABASE", database.name)
    monkeypatch.setenv("LLM_AUDIT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("COLUMNS", "80")
    reset_settings()

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        process.stop()  # each is a process of its own
        reset_settings()
        code = cli.main(list(map(str, arguments)))
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def made_up(database: Database[Call]) -> Database[Call]:
    """Give the test's own database with the made-up calls in it."""
    store(database)
    return database
