from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("typer")

from llm_audit.display import figures
from llm_audit.display.json_lines import json_line
from llm_audit.errors import UsageError
from llm_audit.queries.times import parse_time


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        *((None, "-"), (0, "$0"), (1e-9, "<$1e-6"), (0.00012, "$0.000120"), (0.0456, "$0.0456")),
        *((1, "$1.00"), (1234.567, "$1,234.57"), (-2.5, "$-2.50")),
    ],
)
def test_money(usd: float | None, shown: str) -> None:
    """An amount has as many digits as it takes to see one."""
    assert figures.money(usd) == shown


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        *((None, "-"), (0, "0 ms"), (999.4, "999 ms"), (999.6, "1.0 s"), (12_345, "12.3 s")),
        *(
            (59_960, "1m00s"),
            (130_000, "2m10s"),
            (3_599_400, "59m59s"),
            (3_599_999, "1h00m"),
            (3_840_000, "1h04m"),
        ),
    ],
)
def test_durations(milliseconds: float | None, shown: str) -> None:
    """A duration is in the unit that fits, also where rounding makes it the next one."""
    assert figures.duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1.0 KiB"), (5 * 2**40, "5,120.0 GiB")],
)
def test_sizes(count: int, shown: str) -> None:
    """Bytes are in the unit that fits."""
    assert figures.size(count) == shown


def test_recorded_text_cannot_steer_the_terminal() -> None:
    """Control characters are made visible, line breaks and tabs are kept."""
    assert figures.safe("a\x1b[2Jb\x07\x9b\r\n\tc") == "a<U+001B>[2Jb<U+0007><U+009B>\n\tc"
    assert figures.safe("a\u202eb\u2066c\u200e") == "a<U+202E>b<U+2066>c<U+200E>"
    assert figures.cell(" one\n two\x1b ") == "one two<U+001B>"
    assert figures.cell("") == figures.cell(None) == "-"


def test_moments_are_short() -> None:
    """Today is shown to the second, this year without the year, else the date."""
    now = datetime.now(UTC).astimezone()

    assert figures.moment(now) == f"{now:%H:%M:%S}"
    assert figures.moment(datetime(2001, 2, 3, 12, tzinfo=UTC)) == "2001-02-03"
    assert figures.moment(None) == "-"


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        *(("30s", timedelta(seconds=30)), ("30m", timedelta(minutes=30))),
        *(("2h", timedelta(hours=2)), ("7d", timedelta(days=7)), ("1w", timedelta(weeks=1))),
    ],
)
def test_a_while_ago(text: str, ago: timedelta) -> None:
    """A number and a unit are how long ago."""
    before = datetime.now(UTC) - ago

    assert before <= parse_time("--since", text) <= datetime.now(UTC) - ago


def test_dates_are_local_unless_they_say_otherwise() -> None:
    """A date alone is its midnight."""
    assert parse_time("--since", "2026-11-01T10:00Z") == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert parse_time("--since", "2026-11-01T10:00") == datetime(2026, 11, 1, 10).astimezone()
    assert parse_time("--since", "2026-11-01") == datetime(2026, 11, 1).astimezone()


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-7d", "7 d", "2026-13-01", "99999999999d", f"{'9' * 5000}d"]
)
def test_what_is_no_time_names_the_option(text: str) -> None:
    """The error says what would be one."""
    with pytest.raises(UsageError, match=r"^--until .* is no time: it takes 30m, 2h, 7d, "):
        parse_time("--until", text)


def test_a_row_is_one_line_of_strict_json() -> None:
    """No line break of any kind, no NaN, dates in UTC, bytes in base64."""
    row = {
        "at": datetime(2026, 5, 1, 12, 0, 0, 5000),  # noqa: DTZ001  (as a client without zones reads)
        "text": "a\nb\u2028c\x85d\x9b é",
        "numbers": [1, 2.5, float("nan"), float("inf")],
        "bytes": b"\x00\xff",
        "nested": {"none": None},
    }

    assert json_line(row) == (
        '{"at": "2026-05-01T12:00:00.005Z", "text": "a\\nb\\u2028c\\u0085d\\u009b é", '
        '"numbers": [1, 2.5, null, null], "bytes": "AP8=", "nested": {"none": null}}'
    )
