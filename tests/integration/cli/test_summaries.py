import json
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
from made_up_calls import CALLS, START, Call
from pymongo.database import Database

from llm_audit import pipelines
from llm_audit.queries.grouping import GroupBy

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
        assert {k: v for k, v in row.items() if k != "groups"} == pytest.approx(
            {k: v for k, v in one.items() if k != "groups"}
        )


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("by", get_args(GroupBy))
def test_costs_are_shown_for_every_group(by: str, shell: Shell) -> None:
    """Each group is a row with its whole name, and with a bar where there is room for one."""
    ended = shell("costs", "--by", by, *SINCE)
    groups = [
        json.loads(line)["group"] for line in shell("costs", "--by", by, *SINCE, "--json").lines
    ]

    assert ended.code == 0
    assert ended.lines[1].split()[:2] == [by, "calls"]
    rows = ended.lines[2 : 2 + len(groups)]  # below them is the picture of groups of time
    assert [line.split("  ")[0].strip()[:10] for line in rows] == [
        (group or "-")[:10] for group in groups
    ]
    assert all(group in ended.output for group in groups if group)
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
