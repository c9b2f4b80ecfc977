"""What redaction finds, what it takes for something else, and what it costs.

    python -m benchmarks.redaction

Recall is measured on secrets and personal data that were made up (`benchmarks.planted` and
`.planted_people`), false positives on recorded traffic, where that lies beside the project: it
holds no keys, addresses or numbers of people, so whatever is found there is wrong. Times are the
best of many.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, starmap
from pathlib import Path
from typing import Any

from benchmarks import planted, planted_people
from benchmarks.figures import Aim, Row, Table, aims, publish
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit.encoding.encode import encode
from llm_audit.redaction.apply import Redaction
from llm_audit.redaction.personal import READY_MADE
from llm_audit.settings import Settings

TRAFFIC = Path(__file__).parents[2] / "shared" / "traffic"
LARGE = 2**40
PERSONAL = ",".join(READY_MADE)
TIMES = 3_000
# What each row of the costs has switched on.
SETS: dict[str, dict[str, Any]] = {
    "secrets, the default": {},
    **{f"secrets, {name}": {"redact": name} for name in READY_MADE},
    "secrets, email, card": {"redact": "email,card"},
    "secrets and all personal data": {"redact": PERSONAL},
}


def redaction(**settings: Any) -> Redaction:
    """Return what redacts under these settings."""
    return Redaction(Settings(**settings))


def rewritten(redacting: Redaction, value: object) -> tuple[list[str], Counter[str]]:
    """Return the texts of a value of a call as they are stored, and what was counted."""
    document: Any = {"metadata": {"": value}}
    if redacting.is_clean(encode(document, LARGE, LARGE).raw, document):
        return [*texts_in(document)], Counter()
    stored, counts = redacting.rewrite(document)
    return [*texts_in(stored)], Counter(counts)


def texts_in(value: object) -> Iterator[str]:
    """Yield every text in a value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(texts_in, chain(value, value.values())))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(texts_in, value))


def is_gone(secret: str, texts: list[str]) -> bool:
    """Tell whether no line of a secret is left."""
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]
    return not any(line in text for text in texts for line in lines)


def recall() -> Table:
    """Return how much of what was planted is gone, and which kinds are not always."""
    secrets, personal = redaction(), redaction(redact=PERSONAL, redact_secrets=False)
    corpora: list[tuple[str, Redaction, list[planted.Planted]]] = [
        ("keys of providers", secrets, [*planted.planted_keys()]),
        ("what a word before it makes a secret", secrets, [*planted.planted_credentials()]),
        ("secrets by their names", secrets, [*planted.planted_under_names()]),
    ]
    of_rule = defaultdict(list)
    for one in planted_people.planted_personal():
        of_rule[one.kind].append(one)
    corpora += [(f"`{rule}`", personal, ones) for rule, ones in of_rule.items()]
    return Table(
        "recall",
        ("what was planted", "forms", "times", "replaced", "not always"),
        [_recall_of(*corpus) for corpus in corpora],
    )


def _recall_of(name: str, redacting: Redaction, corpus: list[planted.Planted]) -> Row:
    left = [one for one in corpus if not is_gone(one.secret, rewritten(redacting, one.value)[0])]
    forms = len({one.form for one in corpus})
    missed = ", ".join(dict.fromkeys(one.form for one in left))
    return name, f"{forms}", f"{len(corpus):,}", f"{1 - len(left) / len(corpus):.1%}", missed


def texts_of_traffic() -> Iterator[Any]:
    """Yield what was recorded, call by call; bodies hold U+2028, so lines are split by hand."""
    for file in sorted(TRAFFIC.glob("*.jsonl")):
        yield from (json.loads(line) for line in file.read_text("utf-8").split("\n") if line)


def false_positives() -> tuple[Table, int]:
    """Return what was found in traffic by rule, and in how many calls that was looked for."""
    redacting = redaction(redact=PERSONAL)
    calls, found = 0, Counter[str]()
    for call in texts_of_traffic():
        calls += 1
        found += rewritten(redacting, call)[1]
    rows = [(rule, str(count)) for rule, count in found.most_common()] or [("none", "0")]
    return Table("traffic", ("rule", "found"), rows), calls


def costs() -> tuple[Table, dict[str, float]]:
    """Return what each set of rules costs the calling thread, in microseconds for a call."""
    start = {name: value for name, value in REQUEST.items() if name != "provider"}
    end = {"said": {"response_message": ANSWER, "tokens": USAGE}, "asked": {}}
    clean = [(encode(fields, LARGE, LARGE).raw, fields) for fields in (start, end)]
    spent = {
        name: best(partial(_look_at, redaction(**given), clean)) for name, given in SETS.items()
    }
    rows = [(name, f"{micros:.0f}") for name, micros in spent.items()]
    return Table("costs", ("rules", "µs for a call of 3.3 KB"), rows), spent


def _look_at(redacting: Redaction, documents: list[tuple[bytes, dict[str, Any]]]) -> None:
    if not all(starmap(redacting.is_clean, documents)):
        raise RuntimeError("the sample holds nothing to redact: the figures mean nothing")


def best(work: Callable[[], object]) -> float:
    """Return how long it takes at the least, in microseconds."""
    shortest = float("inf")
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest * 1e6


def main() -> None:
    """Measure, and publish what was measured."""
    price, spent = costs()
    tables = [price, recall()]
    if TRAFFIC.is_dir():
        wrong, calls = false_positives()
        print(f"{calls:,} recorded calls were looked through")
        tables.append(wrong)
    else:
        print("No recorded traffic lies beside the project: false positives are not counted")
    wanted = [
        Aim("secrets, µs", spent["secrets, the default"], 15),
        Aim("e-mail and cards on top, µs", _on_top(spent, "secrets, email, card"), 60),
    ]
    publish("redaction", [*tables, aims(*wanted)])


def _on_top(spent: dict[str, float], name: str) -> float:
    return spent[name] - spent["secrets, the default"]


if __name__ == "__main__":
    main()
