"""The tasks of a canvas as the rows of a tree: each below the task that started it.

Members of a group that the same task started are together, in a row of their own that sums them up.
The body of a chord is started by the last of them and has their group's id; it stands behind them.
A parent that made no call is known by its id alone. Links between tasks may close a circle: every
task is in the tree exactly once all the same. Nothing here is recursive, as a chain may be long.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from llm_audit.queries.answers.tasks import Task

INDENTED = 12  # levels: deeper down, rows no longer move to the right
SHOWN = 10  # tasks next to each other that have a row
NOTABLE = 40  # of the others, those that failed, run, were retried or started something
SHORTEST_FOLD = 4


@dataclass(eq=False)
class Node:
    """A task, a group of them, or a parent of which nothing but its id is known.

    Attributes:
        task: None for the others.
        group_id: Of a group.
        silent_id: Of a task that made no call.
        is_body: Whether the task is the body of a chord.
        children: What is below it, in the order of time.
    """

    task: Task | None = None
    group_id: str | None = None
    silent_id: str | None = None
    is_body: bool = False
    children: "list[Node]" = field(default_factory=list)


class Row(NamedTuple):
    """A row of the tree.

    Attributes:
        level: How far it is moved to the right.
        node: What it is about; None for tasks that are folded.
        tasks: All that it sums up: itself, the members of a group, or what is folded.
    """

    level: int
    node: Node | None
    tasks: Sequence[Task]


def tree_of(tasks: Sequence[Task]) -> list[Node]:
    """Return the roots of a canvas, in the order of time.

    Args:
        tasks: Oldest first.
    """
    nodes = {task.task_id: Node(task=task) for task in tasks}
    above = {task.task_id: _parent_of(task) for task in tasks}
    _cut_circles(above)
    silent: dict[str, Node] = {}
    groups: dict[tuple[int, str], Node] = {}
    places: dict[str, list[Node]] = {}  # of tasks, without their groups
    roots: list[Node] = []
    for task in tasks:
        node, parent_id = nodes[task.task_id], above[task.task_id]
        parent = nodes.get(parent_id) if parent_id is not None else None
        if parent is not None and _is_body(task, parent.task) and parent_id in places:
            node.is_body = True
            places[task.task_id] = places[parent_id]
            places[parent_id].append(node)
            continue
        if parent_id is not None and parent is None:
            if parent_id not in silent:
                silent[parent_id] = Node(silent_id=parent_id)
                roots.append(silent[parent_id])
            parent = silent[parent_id]
        place = places[task.task_id] = roots if parent is None else parent.children
        if task.group_id is not None:
            key = (id(place), task.group_id)
            if key not in groups:
                groups[key] = Node(group_id=task.group_id)
                place.append(groups[key])
            place = groups[key].children
        place.append(node)
    for group in groups.values():
        if len(group.children) == 1:  # of a chain in it, only the last task is said to be a member
            _become(group, group.children[0])
    return roots


def rows_of(roots: Sequence[Node], *, is_folded: bool = True) -> list[Row]:
    """Return the rows of a tree, from top to bottom.

    Args:
        roots: As `tree_of` gives them.
        is_folded: Of many tasks next to each other, show some; those that are worth a look are.
    """
    found: list[Row] = []
    waiting: list[tuple[int, Node | None, Sequence[Node]]] = _runs(roots, 0, is_folded=is_folded)
    while waiting:
        level, node, folded = waiting.pop()
        if node is None:
            tasks = [one.task for one in folded if one.task]
            found.append(Row(min(level, INDENTED), None, tasks))
            continue
        if node.group_id is not None:
            tasks = [one.task for one in node.children if one.task]
        else:
            tasks = [node.task] if node.task else []
        found.append(Row(min(level, INDENTED), node, tasks))
        waiting += _runs(node.children, level + 1, is_folded=is_folded)
    return found


def last_moment(tasks: Iterable[Task]) -> datetime | None:
    """Return the last moment that is known of tasks."""
    return max((task.ended_at for task in tasks if task.ended_at), default=None)


def _parent_of(task: Task) -> str | None:
    """Return what started a task: the task that runs it in place, its parent, else its root."""
    parents = (task.outer_task_id, task.parent_id, task.root_id)
    return next((one for one in parents if one is not None and one != task.task_id), None)


def _is_body(task: Task, parent: Task | None) -> bool:
    """Tell whether a task is the body of the chord that its parent was a member of."""
    return parent is not None and task.group_id is not None and task.group_id == parent.group_id


def _become(group: Node, only: Node) -> None:
    """Put the only member of a group in its place."""
    group.task, group.group_id, group.is_body = only.task, None, only.is_body
    group.children = only.children


def _cut_circles(above: dict[str, str | None]) -> None:
    """Make one task of each circle of parents a root."""
    done: set[str] = set()
    for start in above:
        way: dict[str, None] = {}
        step: str | None = start
        while step is not None and step in above and step not in done:
            if step in way:
                above[step] = None
                break
            way[step] = None
            step = above[step]
        done.update(way)


def _runs(
    nodes: Sequence[Node], level: int, *, is_folded: bool
) -> list[tuple[int, Node | None, Sequence[Node]]]:
    """Return what stands next to each other, the last first: nodes, and at the end a fold."""
    if not is_folded or len(nodes) < SHOWN + SHORTEST_FOLD:
        return [(level, node, ()) for node in reversed(nodes)]
    shown = list(nodes[:SHOWN])
    shown += [node for node in nodes[SHOWN:] if _is_notable(node)][:NOTABLE]
    known = {id(node) for node in shown}
    rest = [node for node in nodes if id(node) not in known]
    fold: list[tuple[int, Node | None, Sequence[Node]]] = [(level, None, rest)] if rest else []
    return [*fold, *((level, node, ()) for node in reversed(shown))]


def _is_notable(node: Node) -> bool:
    task = node.task
    if task is None or node.children:
        return True
    return bool(task.failures or task.running or len(task.attempts) > 1)
