"""What a dead process left in the spool: adopted once, shipped whole, its open calls closed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import bson
import pytest
from children import child
from made_up_records import create_process_folder
from nowhere import NOWHERE
from uuid_utils import uuid7
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import ConfigurationError, LLMLogger
from llm_audit.call import CallFields
from llm_audit.ids import first_id_at
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import FORMAT_VERSION, OTHER, START, pack
from llm_audit.journal.writer import Journal
from llm_audit.settings import Settings, get_settings

LARGE = 2**30
MESSAGES = [{"role": "user", "content": "x" * 500}]

# Says what it was promised each time a recording call has returned; every seventh call stays open.
RECORD_UNTIL_KILLED = """
import os
from llm_audit import LLMLogger
number = 0
while True:
    call_id = LLMLogger.start(model="m", messages=[{"role": "user", "content": "x" * 500}])
    os.write(1, f"started {call_id}\\n".encode())
    number += 1
    if number % 7:
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "y" * 500})
        os.write(1, f"completed {call_id}\\n".encode())
"""

RECORD_AND_WAIT = """
from llm_audit import LLMLogger, flush
from patience import PATIENCE
call_id = LLMLogger.start(model="m", messages=[])
assert flush(PATIENCE)
print(call_id)
input()
LLMLogger.complete(call_id)
"""

RECOVER_TOGETHER = """
import sys
from pathlib import Path
import llm_audit
from llm_audit.settings import get_settings
from patience import PATIENCE
input()
llm_audit.recover()
dead = Path(sys.argv[1])
while dead.exists():
    pass
assert llm_audit.flush(PATIENCE)
print(llm_audit.stats()["closed_for_the_dead"])
"""

pytestmark = pytest.mark.usefixtures("recording")


def target_folder() -> Path:
    settings = get_settings()
    return settings.spool_dir / settings.target()


def journals(spool_dir: Path) -> list[Path]:
    return list(spool_dir.glob("*/*/*.bson"))


def process_folders() -> list[Path]:
    return [path for path in target_folder().iterdir() if path.name != "rejected"]


def start_record(call_id: str, nonce: str = "") -> bytearray:
    doc = {"messages": MESSAGES, "process_nonce": nonce}
    return pack(START, call_id, 0, bson.encode(doc))


def dead_folder(records: Iterable[bytearray]) -> Path:
    """Leave a journal behind as a process does that was killed: the lock is free."""
    folder = create_process_folder(target_folder())
    journal = Journal(folder.path, get_settings().segment_max_bytes, LARGE)
    for record in records:
        journal.append(record, "")
    journal.close()
    folder.release()
    return folder.path


def recover(*dead: Path) -> None:
    """Let this process adopt what the dead left, and wait until it is all in MongoDB."""
    llm_audit.recover()
    until(lambda: not any(folder.exists() for folder in dead))
    assert llm_audit.flush(PATIENCE)


@pytest.mark.parametrize("promises", [1, 40, 600])
def test_sigkill_loses_nothing(recording: Recording, calls: Calls, promises: int) -> None:
    """Everything that a killed process was promised is there once; its open calls are closed."""
    with child(RECORD_UNTIL_KILLED, recording()) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(promises)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines(keepends=True)
    # the last line may have been cut short by the kill, but then it was not said in full
    promised = [line.split() for line in said if line.endswith("\n")]
    recover(*process_folders())

    started = {call_id for what, call_id in promised if what == "started"}
    completed = {call_id for what, call_id in promised if what == "completed"}
    stored = {call["_id"]: call for call in calls.find()}
    assert started <= stored.keys()
    assert len(stored) - len(started) in {0, 1}  # one may have been recorded and not yet said
    for call_id, call in stored.items():
        assert call["messages"] == MESSAGES
        if call_id in completed:
            assert (call["status"], call["response_message"]["content"]) == ("SUCCESS", "y" * 500)
        elif call["status"] != "SUCCESS":  # else it was completed and this not yet said
            assert (call["status"], call["ended_by"]) == ("ABANDONED", "worker_lost")
        CallFields.model_validate(call)
    assert sum(call["status"] == "SUCCESS" for call in stored.values()) - len(completed) in {0, 1}


def test_an_outcome_from_elsewhere_beats_the_abandonment(calls: Calls) -> None:
    """A real outcome in the dead process's journal, or later, counts more than its death."""
    key = outcome_key(Rank.ELSEWHERE, 1.0)
    outcome = {"status": "SUCCESS", "outcome_key": key}
    folder = create_process_folder(target_folder())
    journal = Journal(folder.path, LARGE, LARGE)
    for call_id in ("ended", "open"):
        journal.append(start_record(call_id, folder.nonce), call_id)
    journal.append(pack(OTHER, "ended", key, bson.encode(outcome)), "ended")
    folder.release()
    recover(folder.path)
    statuses = {call["_id"]: call["status"] for call in calls.find()}
    assert statuses == {"ended": "SUCCESS", "open": "ABANDONED"}

    LLMLogger.complete("open", response_message={"content": "late"})
    assert llm_audit.flush(PATIENCE)
    call = calls.find_one({"_id": "open"})
    assert call is not None
    assert call["status"] == "SUCCESS"
    assert not {"ended_by", "error_type"} & call.keys()


def test_no_call_is_closed_before_it_was_made(calls: Calls) -> None:
    """By whichever clock: the one of the dead was two hours ahead."""
    ahead = first_id_at(time.time() + 7200) + "-7000-8000-000000000000"
    folder = create_process_folder(target_folder())
    journal = Journal(folder.path, LARGE, LARGE)
    for call_id in (ahead, str(uuid7())):
        journal.append(start_record(call_id, folder.nonce), call_id)
    folder.release()
    recover(folder.path)
    later, now = calls.find({"status": "ABANDONED"}).sort("_id", -1)
    assert later["completed_at"] == later["created_at"] > now["completed_at"] > now["created_at"]


def test_open_calls_are_closed_where_no_journal_is_left(calls: Calls) -> None:
    """A process whose journal had all been shipped before it was killed leaves no call PENDING."""
    folder = create_process_folder(target_folder())
    calls.insert_one({"_id": "shipped", "status": "PENDING", "process_nonce": folder.nonce})
    folder.release()
    recover(folder.path)

    assert calls.count_documents({"_id": "shipped", "status": "ABANDONED"}) == 1
    assert llm_audit.stats()["closed_for_the_dead"] == 1


@pytest.mark.parametrize("rest", [start_record("torn")[:-1], b"\0" * 50, b"?"])
def test_damage_does_not_keep_the_others(
    calls: Calls, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    """What comes before damage is shipped; the rest is kept aside, said once, and tallied."""
    path = dead_folder(start_record(str(number)) for number in range(3))
    (segment,) = path.glob("*.bson")
    with segment.open("ab") as file:
        file.write(rest)
    recover(path, dead_folder([start_record("other")]))

    assert {call["_id"] for call in calls.find()} == {"0", "1", "2", "other"}
    assert len([line for line in caplog.messages if "set aside" in line]) == 1
    (aside,) = (target_folder() / "rejected").iterdir()
    assert aside.name == f"{path.name}-{segment.stem}.damaged"
    assert aside.read_bytes() == rest


@pytest.mark.parametrize("content", [None, b""], ids=["a folder", "an empty file"])
def test_what_is_no_segment_holds_nothing_up(calls: Calls, content: bytes | None) -> None:
    """A folder or an empty file in place of a segment does not keep the others from MongoDB."""
    path = dead_folder([start_record("0")])
    if content is None:
        (path / "00000000.bson").mkdir()
    else:
        (path / "00000000.bson").write_bytes(content)
    recover(path)

    assert {call["_id"] for call in calls.find()} == {"0"}
    aside = [path.name for path in target_folder().glob("rejected/*")]
    assert aside == ([f"{path.name}-00000000.damaged"] if content is None else [])


def test_a_newer_journal_is_left_alone(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    """A journal in a newer format stays as it is, said once, and others are recovered."""
    record = bytearray(bson.encode({**bson.decode(start_record("newer")), "v": FORMAT_VERSION + 1}))
    newer = dead_folder([start_record("older"), record])
    content = [(path.name, path.read_bytes()) for path in sorted(newer.iterdir())]
    for number in range(2):
        recover(dead_folder([start_record(str(number))]))

    until(lambda: any(str(newer) in line for line in caplog.messages))  # it may be looked at last
    assert [(path.name, path.read_bytes()) for path in sorted(newer.iterdir())] == content
    assert calls.count_documents({"_id": {"$in": ["0", "1"]}}) == 2
    assert len([line for line in caplog.messages if str(newer) in line]) == 1


def test_a_live_process_is_never_adopted(recording: Recording, calls: Calls) -> None:
    """While a process lives, its folder and its open calls are left alone, however quiet it is."""
    with child(RECORD_AND_WAIT, recording()) as process:
        assert process.stdout is not None
        call_id = process.stdout.readline().strip()
        (alive,) = process_folders()
        for number in range(3):
            recover(dead_folder([start_record(str(number))]))
        assert alive.exists()
        assert calls.count_documents({"_id": call_id, "status": "PENDING"}) == 1
        output, errors = process.communicate("end\n")
    assert (output, errors) == ("", "")
    assert calls.count_documents({"_id": call_id, "status": "SUCCESS"}) == 1


def test_adopters_do_not_double(recording: Recording, calls: Calls) -> None:
    """Of several processes that find the same dead one, one ships it and closes its calls."""
    settings: Settings = recording()
    folder = create_process_folder(target_folder())
    journal = Journal(folder.path, 20_000, LARGE)
    for number in range(200):
        journal.append(start_record(str(number), folder.nonce), str(number))
    folder.release()

    with ExitStack() as stack:
        adopters: list[subprocess.Popen[str]] = [
            stack.enter_context(child(RECOVER_TOGETHER, settings, str(folder.path)))
            for _ in range(3)
        ]
        for adopter in adopters:
            assert adopter.stdin is not None
            adopter.stdin.write("go\n")
            adopter.stdin.flush()
        said = [adopter.communicate(timeout=PATIENCE) for adopter in adopters]

    assert [errors for _, errors in said] == ["", "", ""]
    assert sorted(int(output) for output, _ in said) == [0, 0, 200]
    assert calls.count_documents({}) == calls.count_documents({"status": "ABANDONED"}) == 200


def test_the_spool_is_for_the_owner_only(recording: Recording) -> None:
    """Folders have mode 0700, files 0600, whatever the umask: they hold prompts in plain text."""
    before = os.umask(0)
    try:
        settings = recording(mongo_url=NOWHERE, exit_timeout_seconds=0)
        LLMLogger.start(model="m", messages=[{"image": "QUJD" * 100_000}])
    finally:
        os.umask(before)
    found = [settings.spool_dir, *settings.spool_dir.rglob("*")]
    modes = {path.name: path.stat().st_mode & 0o777 for path in found}
    assert {path.suffix for path in found} >= {".bson", ".blob"}
    assert modes == {path.name: 0o700 if path.is_dir() else 0o600 for path in found}


def test_an_unwritable_spool_is_an_error_in_strict_mode(
    recording: Recording, tmp_path: Path
) -> None:
    """In strict mode each call says that the spool cannot be written, and what to do."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    recording(spool_dir=in_the_way)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"spool_dir.*LLM_AUDIT_SPOOL_DIR"):
            LLMLogger.start(model="m", messages=[])


def test_without_a_spool_calls_go_through_memory(
    recording: Recording, calls: Calls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside strict mode one log line says so, the calls are counted, and still arrive."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    recording(spool_dir=in_the_way, strict=False)
    ids = [LLMLogger.start(model="m", messages=MESSAGES) for _ in range(20)]
    for call_id in ids:
        LLMLogger.complete(call_id)
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 20
    assert llm_audit.stats()["not_journaled"] == 40
    (line,) = caplog.messages
    assert str(in_the_way) in line


def test_a_spool_that_can_be_written_later_is_used(
    recording: Recording, calls: Calls, tmp_path: Path
) -> None:
    """A folder that could not be made at the start is tried again, and then holds the journal."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    recording(spool_dir=in_the_way, strict=False)
    ids = [LLMLogger.start(model="m", messages=MESSAGES)]
    in_the_way.unlink()
    until(lambda: list(in_the_way.glob("*/*/lock")))
    ids.append(LLMLogger.start(model="m", messages=MESSAGES))
    until(lambda: ids.append(LLMLogger.start(model="m", messages=MESSAGES)) or journals(in_the_way))
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}}) == calls.count_documents({}) == len(ids)
    assert llm_audit.stats()["dropped"] == []


def test_segments_go_when_they_are_acknowledged(recording: Recording) -> None:
    """What MongoDB has is no longer on disk; what a running process writes to still is."""
    recording(segment_max_bytes=5_000)
    for _ in range(50):
        LLMLogger.complete(LLMLogger.start(model="m", messages=MESSAGES))
    assert llm_audit.flush(PATIENCE)
    (folder,) = process_folders()
    until(lambda: len(list(folder.glob("*.bson"))) <= 1)
    assert llm_audit.shutdown(PATIENCE)
    assert process_folders() == []
