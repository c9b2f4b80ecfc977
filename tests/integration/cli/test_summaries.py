import json
import re
from collections.abc import Callable
from random import Random
from typing import Any, get_args

import pytest
from made_up_calls import CALLS, START, Call, call_id
from pymongo.database import Database
from waiting import Calls

from llm_audit import pipelines
from llm_audit.display.courses import group_name
from llm_audit.queries.grouping import Bucket, GroupBy

Shell = Callable[..., Any]

SINCE = ["--since", "2026-05-01T00:00Z"]
FROM_START = {"start_date": START}


@pytest.mark.parametrize(
    ("words", "pipeline"),
    [
        (["failures"], pipelines.failure_summary(**FROM_START)),
        (["tools"], pipelines.tool_usage(**FROM_START)),
        (["tools", "--tool", "read"], pipelines.tool_usage(tool="read", **FROM_START)),
        (["costs"], pipelines.cost_summary(**FROM_START)),
        (["costs", "--by", "tag"], pipelines.cost_summary("tag", **FROM_START)),
        (["scores", "helpful"], pipelines.score_summary("helpful", **FROM_START)),
        (
            ["scores", "helpful", "--by", "tag", "--source", "judge"],
            pipelines.score_summary("helpful", "tag", source="judge", **FROM_START),
        ),
        (["latency", "--by", "day"], pipelines.latency_summary("day", **FROM_START)),
        (["latency", "--model", "gpt-4"], pipelines.latency_summary(model="gpt-4", **FROM_START)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value[0], str) else "",
)
def test_rows_for_machines_are_those_of_the_pipeline(
    words: list[str], pipeline: list[Call], shell: Shell, made_up: Database[Call]
) -> None:
    """--json prints the pipeline's rows, one a line."""
    wanted = list(made_up["llm_calls"].aggregate(pipeline))

    ended = shell(*words, *SINCE, "--json")

    rows = [json.loads(line) for line in ended.lines]
    assert rows
    assert [row.keys() for row in rows] == [row.keys() for row in wanted]
    for row, one in zip(rows, wanted, strict=True):
        assert {k: v for k, v in row.items() if not isinstance(v, list)} == pytest.approx(
            {k: v for k, v in one.items() if not isinstance(v, list)}
        )


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("by", get_args(GroupBy))
def test_costs_are_shown_for_every_group(by: str, shell: Shell) -> None:
    """Each group is a row with its whole name, and with a bar where there is room for one."""
    all_of_them = [] if by in get_args(Bucket) else ["--limit", 100]
    ended = shell("costs", "--by", by, *SINCE, *all_of_them)
    groups = [
        json.loads(line)["group"] for line in shell("costs", "--by", by, *SINCE, "--json").lines
    ]

    assert ended.code == 0
    assert ended.lines[1].split()[:2] == [by, "calls"]
    rows = ended.lines[2 : 2 + len(groups)]  # below them is the picture of groups of time
    assert [line.split("  ")[0].strip()[:10] for line in rows] == [
        (group or "-")[:10] for group in groups
    ]
    assert all(group_name(by, group) in ended.output for group in groups if group)
    assert ("█" * 12 in ended.output) == (by != "user_id")


def test_failures_show_counts_and_samples(shell: Shell, made_up: Database[Call]) -> None:
    """How many failed of those that ended, the kinds, and the newest call of each."""
    [summary] = made_up["llm_calls"].aggregate(pipelines.failure_summary(**FROM_START))
    judged = summary["failures"] + summary["successes"]

    output = shell("failures", *SINCE, "--limit", 3).output

    assert f"{summary['failures']} of {judged} calls failed, " in output
    assert f"{summary['cancelled']} cancelled" in output
    shown = [group["sample_id"] for group in summary["groups"] if group["sample_id"] in output]
    assert shown == [group["sample_id"] for group in summary["groups"][:3]]
    assert f"And {len(summary['groups']) - 3} further kinds: --limit" in output
    newest = [line for line in output.splitlines() if re.match(r" \d 0", line)]
    assert [line.split()[:2] for line in newest] == [
        [str(number), group["sample_id"]] for number, group in enumerate(summary["groups"][:3], 1)
    ]
    [row] = map(json.loads, shell("failures", *SINCE, "--limit", 3, "--json").lines)
    assert len(row["groups"]) == 3


LARGE = {
    "created_at": START,
    "task_id": "1",
    "total_tokens": 123_456_789_012,
    "cached_tokens": 123_456_789_012,
    "tools_called": ["find_the_way_through_a_labyrinth"] * 3,
    "malformed_tool_calls": ["find_the_way_through_a_labyrinth"] * 2,
    "model": "a-model-with-a-long-name-2026-05-01",
}
TASK = "the_project.pipelines.reviews.tasks.summarize_reviews"


@pytest.fixture
def large(calls: Calls) -> None:
    """Store calls with large numbers and long names, of which no cost is known."""
    lot = Random(1)
    ends = ({"status": "SUCCESS"}, {"status": "ERROR", "error_type": "ServiceUnavailableError"})
    calls.insert_many(
        {
            "_id": call_id(START, lot),
            **LARGE,
            **end,
            "ended_by": "exception",
            "task": {"name": TASK, "retries": number},
        }
        for number, end in enumerate(ends * 2)
    )


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.parametrize(
    "command",
    ["failures", "costs", "costs --by task_name", "tools", "retries", "usage", "calls", "latency"],
)
def test_no_number_is_cut(
    command: str, columns: int, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room bars are left out, numbers are shortened, and then names are cut."""
    monkeypatch.setenv("COLUMNS", str(columns))

    output = shell(*command.split(), *SINCE).output

    assert re.findall(r"(?m)(?:^| )[$]?[\d.,]+…", output) == [], output
    assert max(map(len, output.splitlines())) <= columns
    assert "$0" not in output
    if columns == 140 and command in {"failures", "costs --by task_name", "retries"}:
        assert TASK in output


@pytest.mark.usefixtures("large")
def test_names_of_tasks_are_cut_from_the_left(shell: Shell) -> None:
    """Their end says what they do; below failures they stand whole, for --task-name."""
    failures, retries = shell("failures", *SINCE), shell("retries", *SINCE)

    assert re.search(r" …[\w.]*reviews ", failures.lines[3])
    assert re.match(r"…[\w.]*reviews ", retries.lines[2])
    assert TASK in failures.output.replace("\n", "")
    assert "ServiceU" in failures.output
    assert "excep" in failures.lines[3]


@pytest.mark.usefixtures("large")
def test_malformed_arguments_are_counted(shell: Shell, calls: Calls) -> None:
    """Where tools were asked for with arguments that are no JSON, it says how often."""
    assert "8 of 12" in shell("tools", *SINCE).output
    calls.update_many({}, {"$unset": {"malformed_tool_calls": 1}})
    assert "malformed" not in shell("tools", *SINCE).output


@pytest.mark.usefixtures("made_up")
def test_a_sum_says_how_many_calls_it_knows_nothing_of(shell: Shell) -> None:
    """Calls without a cost are counted beside the sum."""
    models = [call for call in CALLS if call.get("model") == "claude"]
    without = sum("estimated_cost" not in call for call in models)

    output = shell("costs", *SINCE).output

    [row] = [line for line in output.splitlines() if line.startswith("claude")]
    assert row.rstrip().endswith(f"{without} of {len(models)}")


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("command", ["failures", "tools", "costs", "latency", "retries"])
def test_summaries_are_of_a_week_unless_told(command: str, shell: Shell) -> None:
    """Without --since a summary looks at the last week, and says so."""
    ended = shell(command)

    assert ended.code == 0
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d$", ended.lines[0])
    assert ended.lines[1] == "No such calls."
    assert shell(command, "--json").output == ""


@pytest.mark.parametrize(
    ("command", "pipeline"),
    [
        ("costs", pipelines.cost_summary("trace_id")),
        ("latency", pipelines.latency_summary("trace_id")),
    ],
)
def test_as_many_rows_are_shown_as_wanted(
    command: str, pipeline: list[Call], shell: Shell, made_up: Database[Call]
) -> None:
    """A table has the first rows and says how many there are besides; machines have them all."""
    count = len(list(made_up["llm_calls"].aggregate(pipeline)))
    words = [command, "--by", "trace_id", "--since", "2026-04-30"]

    usual, few, whole = (shell(*words, *more) for more in ([], ["--limit", 3], ["--limit", count]))

    assert usual.lines[-1] == f"And {count - 20} further rows: --limit"
    assert few.lines[-1] == f"And {count - 3} further rows: --limit"
    assert "--limit" not in whole.output
    assert [len(ended.lines) for ended in (usual, few, whole)] == [23, 6, 2 + count]
    assert len(shell(*words, "--json").lines) == count
    assert len(shell(*words, "--json", "--limit", 3).lines) == 3


@pytest.mark.usefixtures("made_up")
def test_tools_have_a_limit_too(shell: Shell) -> None:
    """The tools asked for most are shown."""
    last = shell("tools", *SINCE, "--limit", 1).lines[-1]

    assert re.fullmatch(r"And \d+ further rows?: --limit", last)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("command", ["costs", "latency"])
def test_of_a_course_nothing_is_left_out(command: str, shell: Shell) -> None:
    """A gap in the picture is a time without calls, so there is no limit."""
    words = [command, "--by", "hour", *SINCE]

    ended = shell(*words, "--limit", 3)

    assert len(shell(*words).lines) > 30
    assert (ended.code, ended.output) == (2, "")
    assert ended.errors.endswith("are all shown: leave out --limit.\n")
