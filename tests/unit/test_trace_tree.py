"""A trace as a tree, whatever its calls say of their parents."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from properties import given, st

from llm_audit.display.traces import axis_of
from llm_audit.queries.answers.attempts import attempt_branches
from llm_audit.queries.answers.trace_tree import TraceBranch, build_trace_tree

Row = dict[str, Any]

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def row(name: str, parent: str | None = None, span: tuple[int, int] = (0, 1), **more: Any) -> Row:
    """Make up a row; the span is in seconds after noon."""
    start, end = map(at, span)
    return {
        "id": name,
        "parent_call_id": parent,
        "status": "SUCCESS",
        "created_at": start,
        "completed_at": end,
        **more,
    }


def drawn(branches: list[TraceBranch]) -> Any:
    """Return branches as nested lists of ids."""
    return [[branch.call.id, *drawn(branch.children)] for branch in branches]


def path(branch: Any) -> str:
    return " ".join(call.id for call in branch.critical_path())


def test_calls_hang_under_their_parents() -> None:
    """Children are in the order of time, and say how deep they are."""
    tree = build_trace_tree(
        [row("a"), row("b", "a"), row("c"), row("d", "a"), row("e", "b"), row("f", "c")]
    )

    assert drawn(tree.children) == [["a", ["b", ["e"]], ["d"]], ["c", ["f"]]]
    assert [(branch.call.id, branch.depth) for branch in tree.walk()] == [
        *(("a", 0), ("b", 1), ("e", 2), ("d", 1)),
        *(("c", 0), ("f", 1)),
    ]


def test_each_branch_has_its_sums() -> None:
    """A branch counts itself and everything below it; costs that are unknown are counted."""
    tree = build_trace_tree(
        [
            row("a", span=(0, 9), total_tokens=5, prompt_tokens=4, completion_tokens=1),
            row("b", "a", span=(1, 3), total_tokens=10, estimated_cost=0.5),
            row("c", "b", span=(3, 12), status="TIMEOUT", estimated_cost=0.25),
            {"id": "d", "parent_call_id": "a", "status": "PENDING", "created_at": NOON},
        ]
    )
    a, b = tree.children[0], tree.children[0].children[0]

    assert (b.calls, b.total_tokens, b.estimated_cost, b.calls_without_cost) == (2, 10, 0.75, 0)
    assert (b.started_at, b.duration_ms, b.failures) == (NOON + timedelta(seconds=1), 11_000, 1)
    assert (a.calls, a.total_tokens, a.prompt_tokens, a.calls_without_cost) == (4, 15, 4, 2)
    assert (a.duration_ms, a.pending) == (12_000, 1)
    assert (tree.calls, tree.estimated_cost, tree.duration_ms) == (4, 0.75, 12_000)


def test_an_unknown_parent_is_said() -> None:
    """A call whose parent is not in the trace is a root and says so."""
    tree = build_trace_tree([row("a"), row("b", "lost"), row("c", "b")])

    assert drawn(tree.children) == [["a"], ["b", ["c"]]]
    assert [root.orphan for root in tree.children] == [None, "parent not in this trace"]


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ({"a": "a"}, [["a"]]),
        ({"a": "b", "b": "a"}, [["a", ["b"]]]),
        ({"a": "b", "b": "c", "c": "d", "d": "b"}, [["b", ["a"], ["d", ["c"]]]]),
    ],
    ids=["its own", "two", "three and one outside"],
)
def test_circles_are_cut_at_their_oldest(parents: dict[str, str], expected: Any) -> None:
    """Calls that are each other's ancestors are all shown, under the oldest, which says so."""
    tree = build_trace_tree([row(name, parent) for name, parent in parents.items()])

    assert drawn(tree.children) == expected
    assert [root.orphan for root in tree.children] == ["parents in a circle"]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ({"b": (1, 3), "c": (3, 6)}, "a b c"),
        ({"b": (1, 3), "c": (1, 6)}, "a c"),
        ({"b": (1, 3), "c": (2, 6), "d": (4, 9)}, "a b d"),
        ({"b": (-5, -3), "c": (1, 2)}, "a c"),
        ({"b": (11, 12), "c": (13, 14)}, "a b c"),
    ],
    ids=["in turn", "at once", "overlapping", "before its parent", "after its parent"],
)
def test_the_critical_path_is_what_was_waited_for(
    spans: dict[str, tuple[int, int]], expected: str
) -> None:
    """Of calls side by side the one that ended last counts, and what ended before it began."""
    tree = build_trace_tree([row("a", span=(0, 10)), *(row(n, "a", s) for n, s in spans.items())])

    assert path(tree) == path(tree.children[0]) == expected


def test_the_critical_path_goes_through_the_depths() -> None:
    """A branch ends with the last of its calls, so a grandchild can decide."""
    tree = build_trace_tree(
        [
            *(row("a", span=(0, 10)), row("b", "a", (1, 2)), row("c", "b", (3, 9))),
            *(row("d", "a", (1, 8)), row("e", span=(10, 11))),
        ]
    )

    assert path(tree) == "a b c e"


def test_everything_waits_for_what_is_running() -> None:
    """A call without an end is on the critical path."""
    running = row("b", "a", (1, 0), status="PENDING") | {"completed_at": None}
    tree = build_trace_tree([row("a", span=(0, 10)), running, row("c", "a", (1, 9))])

    assert path(tree) == "a b"


def test_calls_without_any_time_are_in_the_tree() -> None:
    """What is known of a call may be its id and status."""
    tree = build_trace_tree([{"id": "a", "status": "SUCCESS"}])

    assert drawn(tree.children) == [["a"]]
    assert (tree.duration_ms, path(tree)) == (None, "")


def test_a_trace_without_calls_is_empty() -> None:
    """No rows, no roots, nothing summed up."""
    tree = build_trace_tree([])

    assert (tree.children, tree.calls, tree.duration_ms, path(tree)) == ([], 0, None, "")


@pytest.mark.parametrize(
    "parent_of",
    [lambda n: n - 1, lambda n: n // 2, lambda n: (n + 1) % 5_000],
    ids=["chain", "bush", "circle"],
)
def test_five_thousand_calls_are_no_trouble(parent_of: Any) -> None:
    """A chain, a bush and a circle of 5,000: nothing is recursive."""
    tree = build_trace_tree([row(str(n), str(parent_of(n)), (n, n + 1)) for n in range(5_000)])

    assert tree.calls == sum(1 for _ in tree.walk()) == 5_000
    assert tree.children[0].critical_path()[0].id == "0"


@st.composite
def traces(draw: st.DrawFn) -> list[Row]:
    """Draw calls whose parents are calls of the trace, others, or none."""
    names = [str(n) for n in range(draw(st.integers(0, 12)))]
    parents = st.sampled_from([None, "lost", *names])
    moments = st.integers(-5, 5)
    return [
        row(
            name,
            draw(parents),
            (draw(moments), draw(moments)),
            estimated_cost=draw(st.sampled_from([None, 1.0, 2.0])),
            status=draw(st.sampled_from(["SUCCESS", "PENDING", "ABANDONED"])),
        )
        for name in names
    ]


def below(name: str, rows: list[Row], cut: set[str]) -> set[str]:
    """Return a call and all its descendants, where links of the cut calls do not count."""
    children = [r["id"] for r in rows if r["parent_call_id"] == name and r["id"] not in cut]
    return {name}.union(*(below(child, rows, cut) for child in children))


@given(traces())
def test_any_links_make_a_tree(rows: list[Row]) -> None:
    """Every call is there once, under its parent unless it is a root, with the right sums."""
    tree = build_trace_tree(rows)
    branches = {branch.call.id: branch for branch in tree.walk()}
    roots = {root.call.id for root in tree.children}
    by_id = {row["id"]: row for row in rows}

    assert Counter(branch.call.id for branch in tree.walk()) == Counter(by_id.keys())
    for name, branch in branches.items():
        members = [by_id[member] for member in below(name, rows, roots)]
        assert branch.calls == len(members)
        assert branch.estimated_cost == sum(one["estimated_cost"] or 0 for one in members)
        assert branch.calls_without_cost == sum(one["estimated_cost"] is None for one in members)
        assert branch.pending == sum(one["status"] == "PENDING" for one in members)
        assert branch.failures == sum(one["status"] == "ABANDONED" for one in members)
        assert {call.id for call in branch.critical_path()} <= {one["id"] for one in members}
        parent = by_id[name]["parent_call_id"]
        assert (branch.orphan == "parent not in this trace") == (parent == "lost")
        for child in branch.children:
            assert (child.call.parent_call_id, child.depth) == (name, branch.depth + 1)


def test_what_runs_does_not_make_the_axis_longer() -> None:
    """It ends at the last known moment; where only a beginning is known, it is now."""
    running = row("b", "a", span=(1, 1), status="PENDING")
    del running["completed_at"]
    tree = build_trace_tree([row("a", span=(0, 10)), running])
    axis = axis_of(tree, at(600))
    assert (axis.start, axis.length_ms, axis.is_open) == (at(0), 10_000, True)
    assert [axis.place(at(moment)) for moment in (-5, 0, 5, 10, 600)] == [0, 0, 0.5, 1, 1]
    alone = axis_of(build_trace_tree([running]), at(600))
    assert alone.length_ms == 599_000
    assert axis_of(build_trace_tree([{"id": "a", "status": "SUCCESS"}]), at(1)).length_ms == 0


def test_attempts_add_up_their_own_calls() -> None:
    """Wherever these are in the tree: what is below a call may be of another attempt."""
    made = {"task_id": "t", "attempt_id": "1", "estimated_cost": 0.5}
    rows = [
        row("a", span=(0, 9)) | made,
        row("b", "a", (1, 8)) | {"estimated_cost": 8.0},
        row("c", "b", (2, 4)) | made | {"attempt_id": "2", "retries": 1, "status": "ERROR"},
        row("d", "c", (3, 12)) | made,
    ]
    first, second = attempt_branches(build_trace_tree(rows).walk())
    assert (first.calls, first.failures, first.estimated_cost) == (2, 0, 1.0)
    assert (first.started_at, first.ended_at) == (at(0), at(12))
    assert (second.calls, second.failures, second.retries) == (1, 1, 1)
