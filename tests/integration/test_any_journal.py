"""Whatever a dead process's folder holds: it is shipped as far as it goes, and harms nobody."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
from anything import TEXTS, VALUES, bent, no_hang
from bson.errors import BSONError
from bson.int64 import Int64
from made_up_records import create_process_folder
from properties import few, given, st
from pymongo.errors import PyMongoError
from waiting import PATIENCE, Calls, Recording, arrived
from whole_documents import DEAD

import llm_audit
from llm_audit import LLMCall, LLMLogger
from llm_audit.journal.precedence import Rank, lowest_key
from llm_audit.journal.records import ENDED, LATER, OTHER, OWN, START, VERDICT, pack, seal
from llm_audit.journal.spool.folder import LOCK
from llm_audit.settings import get_settings
from llm_audit.settings.names import PROCESSES, VERDICTS

FOREIGN: dict[str, Any] = {
    "_id": "019abcde-0000-7000-8000-000000000001",
    "status": "SUCCESS",
    "model": "untouched",
    "company_id": "acme",
    "process_nonce": "11111111-0000-4000-8000-000000000000",
    "outcome_key": lowest_key(Rank.OWNER + 1) - 1,
    "response_message": {"role": "assistant", "content": "untouched"},
}
OWN_ID = "019abcde-0000-7000-8000-000000000002"
ENDS = {"status": "SUCCESS", "completed_at": datetime(2026, 5, 1, tzinfo=UTC)}
ATTEMPT = "attempt 1"
KNOWN_BETTER: Any = {  # a verdict
    **ENDS | {"status": "TIMEOUT", "ended_by": "hard_time_limit"},
    "task_id": "t",
    "outcome_key": Int64(lowest_key(Rank.MAIN_PROCESS + 1) - 1),
}
SAID = {"response_message": {"content": "x"}, "tokens": {"prompt_tokens": 1}}


def record(op: str, rank: int, **doc: Any) -> dict[str, Any]:
    key = lowest_key(rank + 1) - 1 if rank else 0
    if rank and op != LATER:
        doc["outcome_key"] = Int64(key)
    return bson.decode(pack(op, OWN_ID, key, bson.encode(doc)))


RECORDS = [
    record(START, 0, model="m", task={"attempt_id": ATTEMPT}),
    record(OTHER, Rank.UNWINDING, **ENDS | {"status": "INCOMPLETE"}, ended_by="process_exit"),
    record(START, 0, model="m", messages=[{"role": "user", "content": "x"}], tags=["a"]),
    record(OWN, Rank.OWNER, **ENDS, total_tokens=5, tools_called=["f"], usage={"a": 1}),
    record(ENDED, Rank.OWNER, said=SAID, asked=[None, "gpt-4"], completed_at=ENDS["completed_at"]),
    record(OTHER, Rank.ELSEWHERE, **ENDS, error_type="E", error_message="no"),
    record(VERDICT, Rank.MAIN_PROCESS, **ENDS | {"status": "TIMEOUT"}, task_id="t"),
    {**record(LATER, 0, scores=[{"name": "a", "value": 1}], metadata={"b": 1}), "key": Int64(1)},
    {**record(START, 0, model="m"), "notes": ["input: cut"], "redacted": {"email": 1}},
    {**record(START, 0, model="m"), "blobs": [f"{'0' * 64}.{OWN_ID}.blob"]},
]
OF_OTHERS = st.sampled_from([FOREIGN["_id"], OWN_ID, "../x"]) | VALUES
SAYS = {"host": "h", "pid": 1, "parent": 1, "boot_id": "b", "target": "t", "nonce": "n"}
OWNERS = bent([SAYS]).map(lambda owner: json.dumps(owner, default=str).encode())
FILES = st.sampled_from(["losses", "ended", "adopted", "00000003.bson", "x.bson", "00000001.blob"])


@st.composite
def journals(draw: st.DrawFn) -> bytes:
    """Draw a file of records, whole or bent and sealed again, with damage of a disk or without."""
    data = b""
    for seq in range(1, draw(st.integers(1, 5))):
        fields = draw(bent(RECORDS))
        if draw(st.booleans()):
            fields["id"] = draw(OF_OTHERS)
        try:
            packed = bytearray(bson.encode({"seq": Int64(0), **fields}))
            seal(packed, draw(st.sampled_from([seq, seq, seq, 1, 2**40, -1])))
        except (BSONError, OverflowError, ValueError):
            continue
        data += packed
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        middle = draw(st.binary(max_size=8) | st.just(data[place : place + length]))
        data = data[:place] + middle + data[place + draw(st.sampled_from([0, length])) :]
    return data


def left(files: dict[str, bytes], owner: bytes | None = None) -> Path:
    """Leave a folder as a dead process does."""
    settings = get_settings()
    folder = create_process_folder(settings.spool_dir / settings.target(), settings.target_name())
    folder.release()
    for name, data in files.items():
        (folder.path / name).write_bytes(data)
        (folder.path / name).chmod(0o600)
    if owner is not None:
        (folder.path / LOCK).write_bytes(owner)
    return folder.path


OTHER_FILES = st.dictionaries(FILES, st.binary() | OWNERS | journals())


@few
@given(
    files=st.builds(
        lambda journal, others: {**others, "00000001.bson": journal},
        journals() | st.binary(),
        OTHER_FILES,
    ),
    documents=st.none() | st.tuples(bent([DEAD]), bent([KNOWN_BETTER])),
    owner=st.none() | TEXTS.map(str.encode) | OWNERS,
)
def test_any_folder(
    files: dict[str, bytes],
    documents: tuple[Any, Any] | None,
    owner: bytes | None,
    recording: Recording,
    calls: Calls,
) -> None:
    """A call of another process stays as it is, the neighbour's arrives, and so does our own."""
    recording(strict=False)
    calls.delete_many({})
    calls.insert_one(FOREIGN)
    folder = left(files, owner)
    for name, number, its_id in ((PROCESSES, 0, folder.name), (VERDICTS, 1, ATTEMPT)):
        calls.database[name].delete_many({})
        if documents is not None:  # that there are, of that process and of its task
            with suppress(PyMongoError, BSONError, OverflowError):
                calls.database[name].insert_one({**documents[number], "_id": its_id})
    beside = bytearray(pack(START, "beside", 0, bson.encode({"model": "beside"})))
    seal(beside, 1)
    left({"00000001.bson": bytes(beside)})
    with no_hang():
        llm_audit.recover(PATIENCE if owner is None else 0.1)
        own = LLMLogger.complete(LLMLogger.start(model="own"), response_message={"content": "x"})
        assert arrived(calls, own)["status"] == "SUCCESS"
        diagnosis = llm_audit.doctor()
    assert isinstance(diagnosis.problems, list)
    assert calls.find_one({"_id": FOREIGN["_id"]}, dict.fromkeys(FOREIGN, 1)) == FOREIGN
    if owner is None:
        assert calls.find_one({"_id": "beside"}) is not None
    for call in calls.find({"_id": {"$ne": OWN_ID if documents else None}}):
        assert LLMCall.model_validate(call).unreadable == []
