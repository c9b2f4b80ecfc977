"""Usage, costs and latencies over time, and what was paid again."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from local_time import local_time
from made_up_calls import CALLS, START, Call
from pymongo.database import Database
from waiting import Calls

from llm_audit import pipelines

Shell = Callable[..., Any]

SINCE = ["--since", "2026-05-01T00:00Z"]
UNTIL = ["--until", "2026-05-05T00:00Z"]
FROM_START = {"start_date": START}
PARIS = "Europe/Paris"


@pytest.mark.parametrize(
    ("words", "pipeline"),
    [
        ("usage --bucket hour", pipelines.usage_over_time("hour", **FROM_START)),
        (
            f"usage --bucket day --timezone {PARIS}",
            pipelines.usage_over_time("day", timezone=PARIS, **FROM_START),
        ),
        ("usage --bucket week --model gpt-4", pipelines.usage_over_time("week", model="gpt-4")),
        (
            "costs --by hour --timezone +05:30",
            pipelines.cost_summary("hour", timezone="+05:30", **FROM_START),
        ),
        (
            f"latency --by day --timezone {PARIS}",
            pipelines.latency_summary("day", timezone=PARIS, **FROM_START),
        ),
        ("retries", pipelines.retry_spend(**FROM_START)),
        ("retries --task-name tasks.ask", pipelines.retry_spend(task_name="tasks.ask")),
    ],
)
def test_rows_for_machines_are_those_of_the_pipeline(
    words: str, pipeline: list[Call], shell: Shell, made_up: Database[Call]
) -> None:
    """--json prints the pipeline's rows in the zone that was asked for, one a line."""
    wanted = list(made_up["llm_calls"].aggregate(pipeline))

    ended = shell(*words.split(), *SINCE, "--json")

    rows = [json.loads(line) for line in ended.lines]
    assert rows
    assert [row.keys() for row in rows] == [row.keys() for row in wanted]
    names = ("bucket", "group", "calls", "failures", "task_name", "tasks_repeated", "p95")
    for row, one in zip(rows, wanted, strict=True):
        assert [row.get(name) for name in names] == [one.get(name) for name in names]


def rounded(line: str) -> dict[str, Any]:
    """Return a row without the last digits of its cost, which is added up in any order."""
    row = json.loads(line)
    return {**row, "estimated_cost": round(row["estimated_cost"], 9)}


@pytest.mark.usefixtures("made_up")
def test_the_zone_is_that_of_this_machine_unless_told(shell: Shell) -> None:
    """Days begin at local midnight, and the heading says whose days they are."""
    options = ["usage", *SINCE, "--bucket", "hour", "--json"]

    with local_time("Asia/Tokyo"):
        here = shell(*options)
        shown = shell("usage", *SINCE, *UNTIL)

    assert json.loads(here.lines[-1])["bucket"].endswith("+0900")
    assert shown.lines[0].endswith("; by day, Asia/Tokyo")
    there = shell(*options, "--timezone", "Asia/Tokyo")
    assert [rounded(line) for line in here.lines] == [rounded(line) for line in there.lines]


@pytest.mark.usefixtures("made_up")
def test_usage_is_a_table_and_a_picture(shell: Shell) -> None:
    """A row with a bar for each day, and a line for each number from --since to --until."""
    ended = shell("usage", *SINCE, *UNTIL, "--timezone", "UTC")
    in_json = shell("usage", *SINCE, *UNTIL, "--timezone", "UTC", "--json")
    rows = [row for row in map(json.loads, in_json.lines) if row["bucket"]]

    days = [line for line in ended.lines if line.startswith("2026-05-0")]
    assert [line.split()[0] for line in days] == [row["bucket"] for row in rows]
    largest = max(row["calls"] for row in rows)
    for line, row in zip(days, rows, strict=True):
        bar = re.search("(█*)(▒+)", line)
        assert bar
        assert len(bar[0]) == pytest.approx(24 * row["calls"] / largest, abs=1)
        assert len(bar[2]) == pytest.approx(24 * row["failures"] / largest, abs=1)
    pictures = {line.split()[0]: line for line in ended.lines[-4:]}
    assert pictures.keys() == {"calls", "failed", "tokens", "cost"}
    assert re.fullmatch(r"calls  [▁-█]{3}  505 *", pictures["calls"])


def test_a_time_without_calls_is_a_gap(shell: Shell, calls: Calls) -> None:
    """Between two days there is a row that says how many are missing, and a hole in the picture."""
    chosen = [call for call in CALLS if "created_at" in call]
    days = {f"{call['created_at']:%d}": call for call in chosen}
    calls.insert_many(days.values())
    calls.delete_many({"_id": days["02"]["_id"]})

    ended = shell("usage", *SINCE, "--until", "2026-05-06T00:00Z", "--timezone", "UTC")

    assert [line.split()[0] for line in ended.lines[2:5]] == ["2026-05-01", "1", "2026-05-03"]
    assert ended.lines[3].strip() == "1 day without"


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("command", ["costs", "latency"])
def test_groups_of_time_come_with_a_picture(command: str, shell: Shell) -> None:
    """By hour there is a picture below the table, by model there is none."""
    by_hour = shell(command, *SINCE, *UNTIL, "--by", "hour", "--timezone", "UTC")
    by_model = shell(command, *SINCE, "--by", "model")

    assert re.search(r"^(cost|p95) +[▁-█ ]+ up to ", by_hour.lines[-1])
    assert not re.search("[▁-▇]", by_model.output)


@pytest.mark.usefixtures("made_up")
def test_hours_are_called_alike(shell: Shell) -> None:
    """An hour is shown without its zone, which the heading says."""
    options = [*SINCE, *UNTIL, "--timezone", PARIS]
    pages = [
        shell("usage", "--bucket", "hour", *options),
        shell("costs", "--by", "hour", *options),
        shell("latency", "--by", "hour", *options),
    ]

    for page in pages:
        assert f"by hour, {PARIS}" in page.lines[0]
        assert re.match(r"2026-05-\d\d \d\d:00 ", page.lines[3])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("usage --bucket year", "'--bucket': 'year' is not one of 'hour', 'day', 'week', 'month'."),
        ("usage --timezone Mars", "timezone 'Mars' is neither an IANA name"),
        ("costs --timezone Mars", "timezone 'Mars' is neither an IANA name"),
    ],
)
def test_what_is_no_time_is_one_line(words: str, complaint: str, shell: Shell) -> None:
    """The error names what there is."""
    ended = shell(*words.split())

    assert (ended.code, ended.output) == (2, "")
    assert complaint in ended.errors
    assert len(ended.errors.splitlines()) == 1


def test_what_was_paid_again_is_added_up(shell: Shell, made_up: Database[Call]) -> None:
    """The last rows are the sum of all tasks, and its share of what they cost."""
    made_up["llm_calls"].delete_many({"task": {"$exists": True}, "task.name": None})
    rows = list(made_up["llm_calls"].aggregate(pipelines.retry_spend()))
    again = sum(row["estimated_cost"] for row in rows)
    in_tasks = list(made_up["llm_calls"].find({"task.name": {"$exists": True}}))
    whole = sum(call.get("estimated_cost", 0) for call in in_tasks)

    ended = shell("retries", *SINCE)

    assert [line.split()[0] for line in ended.lines[2:5]] == [
        *(row["task_name"] for row in rows),
        "all",
    ]
    assert f"{again / whole * 100:.1f} %" in ended.lines[4]
    assert ended.lines[-1].startswith(f"${again:.2f} paid again in ")
    assert ended.lines[-1].endswith(f": {again / whole * 100:.1f} % of what these tasks cost.")


def test_tasks_without_a_name_have_no_share(shell: Shell, made_up: Database[Call]) -> None:
    """What they cost as a whole cannot be told from calls outside of tasks."""
    made_up["llm_calls"].delete_many({"task.name": {"$exists": True}})

    ended = shell("retries", *SINCE)

    assert ended.lines[2].split()[0] == "-"
    assert "%" not in ended.output


def test_without_retries_nothing_was_paid_again(shell: Shell, calls: Calls) -> None:
    """A task that ran once is no later attempt."""
    call = next(call for call in CALLS if "created_at" in call)
    calls.insert_one({**call, "task_id": "1", "task": {"name": "a.b", "retries": 0}})

    assert shell("retries", *SINCE).lines[1] == "No such calls."
