"""What is no call, which differences are right, and the table that is printed."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.compare import Judged

NO_CALLS = (  # what keeps books for a call, counts for it, or fetches what one has made
    *(("GET", end) for end in ("/responses/{id}", "/assistants/{id}", "/runs/{id}")),
    *(("GET", "/predictions/{id}"), ("DELETE", "/cachedContents/{id}")),
    *(("POST", end) for end in ("/assistants", "/threads", "/threads/{id}/messages")),
    *(("POST", end) for end in ("/cachedContents", "/count_tokens", "/count-tokens")),
    *(("POST", end) for end in (":countTokens", "/responses/input_tokens")),
)
_LONG = "BSON has no integer of over 64 bits, so it is a text, and a note says so"
_SECRET = "a secret by its name, which is redacted, and counted"
_HOST = "its path says little, so it is known by its host, which is another one here"
REASONS = {
    "10e781920165a66b": _HOST,
    "3ee6530b91c1c5e4": _LONG,
    "55b973beb819fbfd": _LONG,
    "6cf43da905d2fa7d": _LONG,
    "176a72c307383d96": _SECRET,
    "4c93d60248a33b0c": _SECRET,
    "65fea9e3fead914a": _SECRET,
    "711ae6b9827ecc7a": _SECRET,
    "f62cd5740464af5b": _SECRET,
}
"""What a record says otherwise than the wire, and why that is right, by the recording's id."""


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
