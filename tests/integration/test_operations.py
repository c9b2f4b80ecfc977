"""Any multiset of operations, in any order and any batches, makes the same document."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from properties import given, st
from pymongo.collection import Collection
from uuid_utils import uuid7

from llm_audit import embedded
from llm_audit.ids import created_at
from llm_audit.journal.losses import Losses
from llm_audit.journal.precedence import Rank
from llm_audit.journal.records import LATER, OTHER, OWN, START, Record
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.statements.writes import Write, writes_for
from llm_audit.settings import Settings
from llm_audit.settings.names import REJECTED
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.refused.rejected import Rejected

THREADS = 3
IDENTITY = {"_id", "created_at", "status", "encoding_notes"}

STARTS = st.fixed_dictionaries(
    {"process_nonce": st.just("n")},
    optional={
        "model": st.sampled_from(["gpt-4", "$model", "a.b"]),
        "messages": st.lists(
            st.dictionaries(st.sampled_from(["role", "$ref", "a.b", ""]), st.text(max_size=3)),
            max_size=2,
        ),
        "tags": st.lists(st.text(max_size=2), max_size=2, unique=True),
        "metadata": st.dictionaries(st.sampled_from(["a", "b", "$a"]), st.integers(4, 6)),
    },
)
OUTCOMES = st.fixed_dictionaries(
    {"status": st.sampled_from(["SUCCESS", "ERROR", "ABANDONED"])},
    optional={
        "response_message": st.dictionaries(
            st.sampled_from(["content", "$content", "a.b"]), st.text(max_size=3)
        ),
        "total_tokens": st.integers(0, 9),
        "error_type": st.text(max_size=3),
        "ended_by": st.sampled_from(["exception", "worker_lost"]),
        "tools_called": st.lists(st.text(max_size=3), max_size=2),
    },
)
LATERS = st.fixed_dictionaries(
    {},
    optional={
        "scores": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("ab"), "value": st.integers(0, 3)},
                optional={"source": st.sampled_from(["me", "$you"])},
            ),
            min_size=1,
            max_size=1,
        ),
        "tags": st.lists(st.text(max_size=2), min_size=1, max_size=2, unique=True),
        "metadata": st.dictionaries(
            st.sampled_from(["a", "a.b", "$a", ""]), st.integers(0, 3), min_size=1
        ),
    },
).filter(bool)
NOTES = st.lists(st.sampled_from(["messages: a", "messages: b", "input: c"]), max_size=2)


@st.composite
def calls(draw: st.DrawFn) -> list[list[Record]]:
    """Draw what was recorded of one call, each record with how it may be paired with another."""
    call_id = str(uuid7())
    keys = itertools.count(draw(st.integers(0, 3)))

    def record(op: str, fields: dict[str, Any], key: int) -> Record:
        doc = {**fields, "outcome_key": Int64(key)} if op in {OWN, OTHER} else {**fields}
        if "scores" in doc:
            doc["scores"] = [{**score, "key": key} for score in doc["scores"]]
        return Record(op, call_id, 0, key, bson.encode(doc), draw(NOTES), ())

    records = []
    if draw(st.booleans()):
        records.append(record(START, draw(STARTS), 0))
    if draw(st.booleans()):
        records.append(record(OWN, draw(OUTCOMES), Rank.OWNER << 60))
    ranks = st.lists(st.sampled_from([r for r in Rank if r is not Rank.OWNER]), max_size=3)
    records += [record(OTHER, draw(OUTCOMES), (rank << 60) + next(keys)) for rank in draw(ranks)]
    records += [record(LATER, said, next(keys)) for said in draw(st.lists(LATERS, max_size=4))]
    copies = [draw(st.integers(1, 2)) for _ in records]
    sent = [[one] for one, count in zip(records, copies, strict=True) for _ in range(count)]
    merged = [one for one in records if one.op in {START, OWN}]
    if len(merged) == 2 and draw(st.booleans()):
        sent.append(merged)
    return sent


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[list[Record]], list[list[Write]]]:
    """Draw the records of some calls, and batches of writes in which they are all sent."""
    sent = list(itertools.chain.from_iterable(draw(st.lists(calls(), min_size=1, max_size=4))))
    writes = [writes_for(*records) for records in draw(st.permutations(sent))]
    cuts = sorted(draw(st.sets(st.integers(0, len(sent)), max_size=5)) | {0, len(sent)})
    batches = [
        list(itertools.chain.from_iterable(writes[begin:end]))
        for begin, end in itertools.pairwise(cuts)
    ]
    return sent, batches


def fold(records: list[Record]) -> dict[str, Any]:
    """Say what the document of one call has to be."""
    call_id = records[0].id
    document = {"_id": call_id, "created_at": created_at(call_id), "status": "PENDING"}
    for record in records:
        if record.op == START:
            document |= bson.decode(record.doc)
    outcomes = [record for record in records if record.op in {OWN, OTHER}]
    if outcomes:
        document |= bson.decode(max(outcomes, key=lambda outcome: outcome.key).doc)
    later = sorted((record for record in records if record.op == LATER), key=lambda one: one.key)
    for key, said in ((record.key, bson.decode(record.doc)) for record in later):
        add_later(document, said, key)
    notes = {note for record in records for note in record.notes}
    return document | ({"encoding_notes": notes} if notes else {})


def add_later(document: dict[str, Any], said: dict[str, Any], key: int) -> None:
    """Say what a document has to be after something was said of the call later."""
    if not set(said.get("tags", ())) <= set(document.get("tags", ())):
        document["tags"] = sorted({*document.get("tags", ()), *said["tags"]})
    for name, value in said.get("metadata", {}).items():
        document.setdefault("metadata", {})[name] = value
        others = [one for one in document.get("annotations", ()) if one["name"] != name]
        document["annotations"] = sorted(
            [*others, {"name": name, "key": key}], key=lambda one: (one["key"], one["name"])
        )
    for score in said.get("scores", ()):
        others = [
            one
            for one in document.get("scores", ())
            if (one["name"], one.get("source")) != (score["name"], score.get("source"))
        ]
        document["scores"] = [*others, score]


@pytest.fixture(scope="module")
def senders(
    mongod: embedded.Mongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Delivery]]:
    """Give a connection for each thread, as processes of their own would have them."""
    folder = tmp_path_factory.mktemp("target")
    target = Settings(
        mongo_url=mongod.url,
        database="test_operations",
        create_collection=False,
        write_concern=1,
        write_journal=False,
    )
    opened = [Connection(target) for _ in range(THREADS)]
    folders = [ProcessFolder(folder / str(number)) for number in range(THREADS)]
    yield [
        Delivery(target, connection, Rejected(target, connection, own, Losses()), Losses())
        for connection, own in zip(opened, folders, strict=True)
    ]
    for connection in opened:
        connection.close()


@pytest.fixture(scope="module")
def collection(mongo_client: Any) -> Iterator[Collection[dict[str, Any]]]:
    """Give the collection that the examples share."""
    yield mongo_client["test_operations"]["llm_calls"]
    mongo_client.drop_database("test_operations")


@pytest.mark.parametrize("threads", [1, THREADS])
@given(delivery=deliveries())
def test_every_order_makes_the_document_of_the_fold(
    senders: list[Delivery],
    collection: Collection[dict[str, Any]],
    threads: int,
    delivery: tuple[list[list[Record]], list[list[Write]]],
) -> None:
    """START, the outcome of the highest key and all notes: whatever is sent how often and when."""
    sent, batches = delivery
    shares = [batches[number::threads] for number in range(threads)]

    def send(sender: Delivery, share: list[list[Write]]) -> None:
        for batch in share:
            sender.send(batch, Path())
            assert batch == []

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(send, senders[:threads], shares))

    by_id: dict[str, list[Record]] = {}
    for record in itertools.chain.from_iterable(sent):
        by_id.setdefault(record.id, []).append(record)
    stored = {call["_id"]: call for call in collection.find({"_id": {"$in": list(by_id)}})}
    for call in stored.values():
        if "encoding_notes" in call:
            assert len(call["encoding_notes"]) == len(set(call["encoding_notes"]))
            call["encoding_notes"] = set(call["encoding_notes"])
    assert stored == {call_id: fold(records) for call_id, records in by_id.items()}
    assert collection.database[REJECTED].find_one() is None


def test_outcomes_that_race_for_a_new_document(
    senders: list[Delivery], collection: Collection[dict[str, Any]]
) -> None:
    """Where several processes end an unknown call at once, the highest outcome stands."""
    rounds = [[str(uuid7()) for _ in range(5)] for _ in range(300)]
    ranks = [Rank.ELSEWHERE, Rank.MAIN_PROCESS, Rank.INFERENCE]
    ready = threading.Barrier(THREADS)

    def send(number: int) -> None:
        for turn, ids in enumerate(rounds):
            rank = ranks[(turn + number) % THREADS]
            key = rank << 60
            doc = bson.encode({"status": "ERROR", "ended_by": rank.name, "outcome_key": Int64(key)})
            records = [Record(OTHER, call_id, 0, key, doc, (), ()) for call_id in ids]
            writes = [write for record in records for write in writes_for(record)]
            ready.wait()
            senders[number].send(writes, Path())

    with ThreadPoolExecutor(THREADS) as executor:
        list(executor.map(send, range(THREADS)))
    every_id = list(itertools.chain.from_iterable(rounds))
    stood = collection.count_documents({"_id": {"$in": every_id}, "ended_by": "ELSEWHERE"})
    assert stood == len(every_id)
