"""Which time a summary is about, and over how many connections it is asked for."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from made_up_calls import Call
from pymongo.database import Database

from llm_audit import embedded

Shell = Callable[..., Any]

COUNTING = """
import sys
from pymongo import monitoring

class Clients(monitoring.TopologyListener):
    opened_count = 0

    def opened(self, event):
        Clients.opened_count += 1

    def description_changed(self, event):
        pass

    def closed(self, event):
        pass

monitoring.register(Clients())
from llm_audit.cli import main

main()
print(Clients.opened_count)
"""


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("command", ["costs", "failures", "usage", "retries", "search hello"])
def test_a_summary_until_then_is_of_the_week_before(command: str, shell: Shell) -> None:
    """Nobody who says --until has to say --since."""
    ended = shell(*command.split(), "--until", "2026-05-04")

    assert (ended.code, ended.errors) == (0, "")
    assert "since 2026-04-27 00:00; until 2026-05-04 00:00" in " ".join(ended.output.split())
    assert "No such calls." not in ended.output


def test_a_week_before_the_beginning_of_time_is_none(shell: Shell) -> None:
    """A date that nobody means is no mistake of ours."""
    ended = shell("costs", "--until", "0001-01-02T00:00Z")

    assert ended.code in {0, 2}
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize("command", ["failures", "retries"])
def test_two_questions_take_one_connection(
    command: str, mongod: embedded.Mongod, made_up: Database[Call]
) -> None:
    """The second one of a summary goes to where the first one went."""
    where = ["--mongo-url", mongod.url, "--database", made_up.name]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *where, command, "--since", "2026-04-30"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "1"
