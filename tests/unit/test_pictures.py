import io
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("typer")

from local_time import local_time
from rich.console import Console

from llm_audit.cli.commands.summaries.usage import fitting_bucket
from llm_audit.cli.drawing.pictures import Line, bar_with_failures, print_course, sparkline
from llm_audit.display.courses import Course
from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, checked_timezone
from llm_audit.queries.times import chosen_timezone, local_timezone

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([0, 1, 7], 10, "▁▂█"),
        ([7, None, 7], 10, "█ █"),
        ([0, 0], 10, "▁▁"),
        ([1, 3, None, 4, None, None], 3, "▅█ "),
        ([], 10, ""),
        ([5], 0, "█"),
    ],
    ids=["shares", "gap", "zeros", "more than there is room for", "nothing", "no room"],
)
def test_a_line_of_bars(values: list[float | None], width: int, shown: str) -> None:
    """Each bar is its share of the largest, None is a gap, and several become their mean."""
    assert sparkline(values, width) == shown


@pytest.mark.parametrize("columns", [60, 80, 300])
def test_a_picture_has_as_much_room_as_what_stands_beside_it_leaves(columns: int) -> None:
    """Each number stays one line, however narrow the terminal is and however long its remark."""
    rows = [
        SimpleNamespace(bucket=f"{2000 + n // 12}-{n % 12 + 1:02}", calls=n) for n in range(240)
    ]
    course = Course("month", rows, named="bucket", timezone="UTC", filters={})
    console = Console(width=columns, file=io.StringIO(), color_system=None)

    print_course(console, course, [Line("a", "calls", "short"), Line("longer", "calls", "x" * 40)])

    assert isinstance(console.file, io.StringIO)
    blank, *lines = console.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["a", "longer"]
    assert blank == ""
    assert lines[1].endswith("x" * 40)
    assert len(lines[1]) <= columns


@pytest.mark.parametrize(
    ("calls", "failures", "shown"),
    [
        (100, 0, "█" * 10),
        (100, 50, "█████▒▒▒▒▒"),
        (100, 1, "█████████▒"),
        (5, 1, "█▒"),
        (5, 5, "▒"),
    ],
)
def test_failures_are_told_apart(calls: int, failures: int, shown: str) -> None:
    """A failure is seen however many calls did not fail, and the other way round."""
    assert bar_with_failures(calls, failures, 100, 10).plain == shown


@pytest.mark.parametrize(
    ("bucket", "names", "gaps"),
    [
        (
            "hour",
            ["2026-10-25T02:00+0200", "2026-10-25T02:00+0100", "2026-10-25T05:00+0100"],
            "xx  x",
        ),
        ("hour", ["2026-11-25T10:00+0530", "2026-11-25T12:00+0530"], "x x"),
        ("day", ["2026-02-27", "2026-03-01"], "x x"),
        ("week", ["2026-W52", "2026-W53", "2027-W02"], "xx x"),
        ("month", ["2026-11", "2027-02"], "x  x"),
    ],
)
def test_a_time_without_calls_is_a_gap(bucket: Bucket, names: list[str], gaps: str) -> None:
    """As many places are empty as hours, days ... are without a row, also where clocks change."""
    rows = [
        SimpleNamespace(bucket=None, calls=1),
        *(SimpleNamespace(bucket=name, calls=1) for name in names),
    ]

    course = Course(bucket, rows, named="bucket", timezone="UTC", filters={})

    assert "".join("x" if value else " " for value in course.values("calls")) == gaps


@pytest.mark.parametrize(
    ("bucket", "timezone", "name", "gaps"),
    [
        ("hour", "UTC", "2026-11-25T14:00Z", "  x "),
        ("hour", "Asia/Kolkata", "2026-11-25T19:00+0530", "  x  "),
        ("hour", "-03:30", "2026-11-25T11:00-0330", "   x "),
        ("day", "+05", "2026-11-25", "x"),
        ("month", "UTC", "2026-11", "x"),
    ],
)
def test_a_course_goes_from_since_to_until(
    bucket: Bucket, timezone: str, name: str, gaps: str
) -> None:
    """Where the first and the last hours have no calls, that is a gap, too."""
    filters = CallFilters(start_date=NOON, end_date=NOON.replace(hour=16))
    rows = [SimpleNamespace(bucket=name, calls=1)]

    course = Course(bucket, rows, named="bucket", timezone=timezone, filters=filters)

    assert "".join("x" if value else " " for value in course.values("calls")) == gaps


@pytest.mark.parametrize(
    ("since", "bucket"),
    [
        ("2026-11-25", "hour"),
        ("2026-11-20", "day"),
        ("2026-06-01", "week"),
        ("2020-01-01", "month"),
    ],
)
def test_the_bucket_fits_the_time(since: str, bucket: str) -> None:
    """A table is a page or two, whatever time it is about; all of time is in months."""
    start = datetime.fromisoformat(since).replace(tzinfo=UTC)

    assert fitting_bucket({"start_date": start, "end_date": NOON}) == bucket
    assert fitting_bucket({}) == "month"


@pytest.mark.parametrize(
    ("variable", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/America/Lima", "America/Lima"),
        ("Etc/UTC", "UTC"),
        ("", "UTC"),
        ("XYZ-9", "+09:00"),
        ("XYZ+3:30", "-03:30"),
    ],
)
def test_the_zone_of_this_machine_is_that_of_tz(variable: str, zone: str) -> None:
    """An IANA name where TZ has one, else the offset; MongoDB understands either."""
    with local_time(variable):
        assert local_timezone() == zone == checked_timezone(zone)


def test_without_tz_the_zone_is_where_localtime_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link /etc/localtime says the name; a file that is no link leaves the offset."""
    monkeypatch.delenv("TZ", raising=False)
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    file.touch()

    assert local_timezone(link) == "Europe/Berlin"
    assert checked_timezone(local_timezone(file))
    assert checked_timezone(local_timezone(tmp_path / "none"))


def test_a_zone_that_was_given_is_checked() -> None:
    """What is no zone is an error; what is not given is this machine's."""
    assert chosen_timezone("+05:30") == "+05:30"
    assert chosen_timezone(None) == local_timezone()
    with pytest.raises(UsageError, match="neither an IANA name"):
        chosen_timezone("Mars")
