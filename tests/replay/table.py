"""What is no call, which differences are right, and the table that is printed."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.compare import Judged

NO_CALLS = (
    *(("GET", end) for end in ("/responses/{id}", "/assistants/{id}", "/runs/{id}")),
    *(("GET", "/predictions/{id}"), ("DELETE", "/cachedContents/{id}")),
    *(
        ("POST", end)
        for end in ("/assistants", "/threads", "/threads/{id}/messages", "/cachedContents")
    ),
)
REASONS: tuple[tuple[set[str], str], ...] = ()


def lines(judged: Iterable["Judged"]) -> list[str]:
    """Return the table: a row for each provider, API and client."""
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    reasons: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for one in judged:
        row = (one.way.recording.provider, one.way.recording.endpoint, one.way.driver.client)
        counts[row]["calls"] += 1
        counts[row]["equal"] += not (one.differences or one.changed)
        counts[row]["right"] += bool(one.differences) and not one.is_wrong
        counts[row]["wrong"] += one.is_wrong
        reasons[row] |= {one.reason} if one.reason else set()
    titles = "| provider | API | client | calls | equal | different, and why | wrong |"
    rows = [titles, "| --- " * 7 + "|"]
    for row, count in sorted(counts.items()):
        why = f"{count['right'] or ''} {'; '.join(sorted(reasons[row]))}".strip()
        cells = [*row, str(count["calls"]), str(count["equal"]), why, str(count["wrong"])]
        rows.append(f"| {' | '.join(cells)} |")
    total = sum(counts.values(), Counter())
    rows.append("")
    rows.append(
        f"{total['calls']} calls: {total['equal']} equal, {total['right']} different with a reason,"
        f" {total['wrong']} wrong"
    )
    return rows
