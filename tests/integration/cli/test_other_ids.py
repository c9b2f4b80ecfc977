"""An id of another kind: the command for it can be pasted, whatever the id is."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from waiting import Calls

Shell = Callable[..., Any]


@pytest.mark.parametrize("name", ["trace 7", "-t", "a'b", "$(reboot)", "--json"])
@pytest.mark.parametrize("field", ["trace_id", "user_id"])
def test_the_command_for_another_id_works(
    name: str, field: str, shell: Shell, calls: Calls
) -> None:
    """It is quoted for a shell, and an id that begins with a hyphen is no option."""
    calls.insert_one({"_id": "1", "status": "SUCCESS", field: name})

    complaint = shell("show", "--", name)
    program, *words = shlex.split(complaint.errors.rpartition(", no call: ")[2])

    assert (complaint.code, program) == (1, "llm-audit")
    ended = shell(*words)
    assert (ended.code, ended.errors) == (0, "")
    assert "No calls" not in ended.output


def test_a_recorded_id_does_not_steer_the_terminal(shell: Shell, calls: Calls) -> None:
    """What stands in MongoDB is shown on stderr as elsewhere: without control characters."""
    calls.insert_one({"_id": "1", "status": "SUCCESS", "trace_id": "t\x1b[2J\x9b", "task_id": "k"})

    ended = shell("trace", "1")

    assert ended.code == 1
    assert "1 is a call of the trace t<U+001B>[2J<U+009B>, no trace: " in ended.errors
    assert not {"\x1b", "\x9b"}.intersection(ended.errors)
