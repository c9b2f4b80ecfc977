"""The table at the end of a run: what was done to the recorder, and what became of the calls."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.promises import Verdict
from patience import LONG

ROW = "fault"
TITLES = ("fault", "times", "calls recorded", "lost", "doubled", "wrong status", "")

Report = Callable[..., None]


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Put a row into the table, and fail where a promise was not kept."""

    def put(fault: str, times: int, verdict: Verdict, remark: str = "") -> None:
        counts = (verdict.lost, verdict.doubled, verdict.wrong_status)
        assert not verdict.without_content, verdict
        record_property(ROW, [fault, times, verdict.recorded, *counts, remark])
        assert counts == (0, 0, 0), verdict
        assert verdict.recorded
        assert times

    return put


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Publish the table, of which every process of the run has made a part."""
    rows = sorted(_rows(terminalreporter.stats))
    if not rows:
        return
    from benchmarks.figures import Table, publish  # only a checkout has it

    terminalreporter.section(f"faults ({'long' if LONG else 'short'} run)")
    cells = [
        [fault, *(f"{count:,}" for count in counts), remark] for fault, *counts, remark in rows
    ]
    publish("faults", [Table("faults", TITLES, cells)], command="make faults")


def _rows(stats: dict[str, list[Any]]) -> Iterator[tuple[Any, ...]]:
    for outcome in ("passed", "failed"):
        for result in stats.get(outcome, ()):
            for name, value in result.user_properties:
                if name == ROW and result.when == "call":
                    yield tuple(value)
