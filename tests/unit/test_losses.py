"""The losses of what did not arrive: by kind and reason, with where, when and whose."""

import threading

import bson

from llm_audit.journal.losses import CALL_IDS_MAX, CONTENT, JOURNAL, RECORD, Losses


def test_kinds_and_reasons_are_counted_apart() -> None:
    """Each kind and reason has one entry, in the order in which they happened first."""
    losses = Losses()
    for what, reason in [(RECORD, "a"), (CONTENT, "a"), (RECORD, "b"), (RECORD, "a")]:
        losses.add(what, reason, seq=1)

    counts = [(entry["what"], entry["reason"], entry["count"]) for entry in losses.entries()]
    assert counts == [(RECORD, "a", 2), (CONTENT, "a", 1), (RECORD, "b", 1)]
    assert losses.total == 4


def test_several_at_once_end_with_the_number() -> None:
    """Of several that were lost together, the last is named and the first follows from it."""
    losses = Losses()
    losses.add(RECORD, "a", seq=20, count=5)
    losses.add(JOURNAL, "b", seq=0)
    records, journal = losses.entries()
    assert (records["count"], records["first_seq"], records["last_seq"]) == (5, 16, 20)
    assert (journal["count"], journal["first_seq"], journal["last_seq"]) == (1, 0, 0)


def test_at_most_ten_calls_are_named() -> None:
    """However many calls are concerned, the entry names the first ten."""
    losses = Losses()
    losses.add(RECORD, "a", seq=1, call_ids=["0", "1", "2"])
    for number in range(3, 1_000):
        losses.add(RECORD, "a", seq=number, call_ids=[str(number), f"{number} too"])
    (entry,) = losses.entries()
    assert len(entry["call_ids"]) == CALL_IDS_MAX == 10
    assert entry["call_ids"][:5] == ["0", "1", "2", "3", "3 too"]
    assert entry["count"] == 998


def test_entries_are_copies_that_bson_holds() -> None:
    """What was handed out stays as it was, and can be stored as it is."""
    losses = Losses()
    losses.add(RECORD, "a", seq=1, call_ids=["x"])
    (entry,) = losses.entries()
    entry["call_ids"].append("y")
    losses.add(RECORD, "a", seq=2)

    assert entry["count"] == 1
    assert losses.entries()[0]["call_ids"] == ["x"]
    (stored,) = bson.decode(bson.encode({"entries": losses.entries()}))["entries"]
    assert stored["count"] == 2


def test_every_thread_may_add() -> None:
    """What several threads add at once is all counted, also for new reasons."""
    losses = Losses()

    def add() -> None:
        for number in range(2_000):
            losses.add(RECORD, str(number % 20), seq=number)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert losses.total == 8_000
    assert {entry["count"] for entry in losses.entries()} == {400}
