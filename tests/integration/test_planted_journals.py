"""What somebody has planted in a spool harms nothing, and holds up nothing that is ours."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from children import child
from made_up_records import create_process_folder, journal_of
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.precedence import Rank, lowest_key
from llm_audit.journal.records import ENDED, LATER, OTHER, OWN, START, VERDICT, pack, seal
from llm_audit.journal.spool.folder import LOCK, REJECTED_FOLDER, ProcessFolder
from llm_audit.settings import get_settings

STRANGER, VICTIM = 65534, 12345
FOREIGN = "019abcde-0000-7000-8000-00000000000{}"
NOW = datetime.now(UTC).replace(microsecond=0)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


def target_folder() -> Path:
    return get_settings().spool_dir / get_settings().target()


def key_of(rank: int) -> int:
    """Return the highest precedence of a rank: that of who spoke at the beginning of time."""
    return lowest_key(rank + 1) - 1


def dead_folder(records: Callable[[str], list[bytearray]]) -> Path:
    """Leave a journal, of records that may name its process, as a killed process does."""
    folder = create_process_folder(target_folder())
    journal_of(folder.path, records(folder.nonce)).close()
    folder.release()
    return folder.path


def outcome(call_id: str, op: str = OWN, rank: int = Rank.OWNER, **fields: Any) -> bytearray:
    """Make an outcome of a call."""
    key = key_of(rank)
    doc = {"status": "SUCCESS", "completed_at": NOW, "outcome_key": Int64(key), **fields}
    return pack(op, call_id, key, bson.encode(doc))


def ended(call_id: str, said: Any, asked: Any, **fields: Any) -> bytearray:
    key = key_of(Rank.OWNER)
    doc = {"said": said, "asked": asked, "completed_at": NOW, "outcome_key": Int64(key), **fields}
    return pack(ENDED, call_id, key, bson.encode(doc))


def start(call_id: str, nonce: str, **fields: Any) -> bytearray:
    return pack(START, call_id, 0, bson.encode({"model": "m", "process_nonce": nonce, **fields}))


def raw(record: bytearray, **changes: Any) -> bytearray:
    """Change fields of a record itself; it is sealed anew when the journal takes it."""
    return bytearray(bson.encode({**bson.decode(record), **changes}))


SECRETS = {"response_message": {"content": "refund approved"}, "company_id": "evil"}
FORGED = {"response_message": {"content": "refund approved"}, "tools_called": ["forged"]}
# What a process may not say, each about a call of another process, by what is wrong with it.
FORGERIES: dict[str, Callable[[str, str], bytearray]] = {
    "its own outcome": lambda foreign, _: outcome(foreign, **FORGED),
    "the owner's outcome": lambda foreign, owner: outcome(foreign, process_nonce=owner, **FORGED),
    "from elsewhere, the earliest": lambda foreign, _: outcome(
        foreign, OTHER, Rank.ELSEWHERE, **FORGED
    ),
    "what was left": lambda foreign, owner: outcome(
        foreign, OTHER, Rank.LEFT, process_nonce=owner, **FORGED
    ),
    "a rank above all": lambda foreign, _: outcome(foreign, OTHER, 7, **FORGED),
    "an owner's rank for another": lambda foreign, _: outcome(foreign, OTHER, **FORGED),
    "a key that is not the outcome's": lambda foreign, _: raw(
        outcome(foreign, OTHER, Rank.ELSEWHERE, **FORGED), key=Int64(2**62)
    ),
    "a start": lambda foreign, nonce: start(foreign, nonce, company_id="evil"),
    "a start of its own": lambda foreign, _: start(foreign, "", company_id="evil"),
    "a start of nobody": lambda foreign, _: pack(START, foreign, 0, bson.encode({"model": "evil"})),
    "an end": lambda foreign, _: ended(foreign, {"response_message": {"content": "x"}}, [None] * 2),
    "an end of the owner's": lambda foreign, owner: ended(
        foreign, {"response_message": {"content": "x"}}, [None, None], process_nonce=owner
    ),
}
# What no recorder writes, whatever it is about.
INVALID: dict[str, Callable[[str, str], bytearray]] = {
    "fields of a start": lambda own, _: outcome(own, **SECRETS),
    "an unknown field": lambda own, _: outcome(own, forged=True),
    "an id": lambda own, _: outcome(own, _id="another"),
    "an operator": lambda own, _: outcome(own, **{"$set": {"status": "x"}}),
    "a path": lambda own, _: outcome(own, **{"usage.x": 1}),
    "a document as its process": lambda own, _: outcome(own, process_nonce={"$ne": 1}),
    "a document as its status": lambda own, _: outcome(own, status={"$ne": 1}),
    "no key": lambda own, _: pack(OWN, own, key_of(6), bson.encode({"status": "SUCCESS"})),
    "no status": lambda own, _: outcome(own, status=None),
    "a negative key": lambda own, _: raw(outcome(own), key=Int64(-1)),
    "a text as key": lambda own, _: raw(outcome(own), key="1"),
    "a number as id": lambda own, _: raw(outcome(own), id=5),
    "a document as id": lambda own, _: raw(outcome(own), id={"$ne": 1}),
    "a long id": lambda _, nonce: start("x" * 100_000, nonce),
    "an operation": lambda own, _: raw(outcome(own), op="delete"),
    "a document as operation": lambda own, _: raw(outcome(own), op={"a": 1}),
    "a list as operation": lambda own, _: raw(outcome(own), op=["own"]),
    "no fields": lambda own, _: raw(outcome(own), doc=None),
    "a list of fields": lambda own, _: raw(outcome(own), doc=[1]),
    "a text as notes": lambda own, _: raw(outcome(own), notes="note"),
    "numbers as notes": lambda own, _: raw(outcome(own), notes=[1]),
    "documents as notes": lambda own, _: raw(outcome(own), notes=[{"$each": []}]),
    "counts by an operator": lambda own, _: raw(outcome(own), redacted={"$inc": 1}),
    "counts by a path": lambda own, _: raw(outcome(own), redacted={"a.b": 1}),
    "counts of texts": lambda own, _: raw(outcome(own), redacted={"email": "x"}),
    "an end of fields": lambda own, _: ended(own, {"company_id": "evil"}, [None, None]),
    "an end of nothing": lambda own, _: ended(own, None, [None, None]),
    "an end that asked nobody": lambda own, _: ended(own, {}, None),
    "an end that asked documents": lambda own, _: ended(own, {}, [{}, {}]),
    "a verdict of operators": lambda own, _: outcome(
        own, VERDICT, Rank.MAIN_PROCESS, task_id={"$ne": None}
    ),
    "a verdict of a high rank": lambda own, _: outcome(own, VERDICT, Rank.OWNER, task_id="t"),
    "scores of numbers": lambda own, _: pack(LATER, own, 1, bson.encode({"scores": [1]})),
    "a score for ever": lambda own, _: pack(LATER, own, 2**61, bson.encode({"tags": ["x"]})),
    "a status, said later": lambda own, _: pack(LATER, own, 1, bson.encode({"status": "x"})),
} | {
    f"the blob {name}": lambda own, _, name=name: raw(outcome(own), blobs=[name])  # type: ignore[misc]
    for name in ("../precious", "/etc/passwd", "a.blob", "", f"{'0' * 64}.../../../etc.blob", 5)
}


def test_a_forged_outcome_changes_no_call_of_others(recording: Recording, calls: Calls) -> None:
    """What an adopted journal says takes the place of nothing that another process has said."""
    recording(strict=False)
    owner = "11111111-0000-4000-8000-000000000000"
    said = {"response_message": {"content": "denied"}, "company_id": "acme", "model": "m"}
    by_owner = {"status": "SUCCESS", "outcome_key": key_of(Rank.OWNER), "process_nonce": owner}
    foreign = [
        {"status": "SUCCESS", **said},  # of no journal, as it was imported
        {**by_owner, **said},
        {**by_owner, "outcome_key": lowest_key(Rank.ELSEWHERE), **said},
    ]
    before = []
    mine = []
    for name, forge in FORGERIES.items():
        about = [{"_id": f"{name} {number}", **one} for number, one in enumerate(foreign)]
        before += about
        mine.append(f"{name} mine")
        dead_folder(
            lambda nonce: [
                *(forge(one["_id"], nonce if "start" in name else owner) for one in about),  # noqa: B023
                start(mine[-1], nonce),
                outcome(mine[-1], response_message={"content": "mine"}),
            ]
        )
    calls.insert_many(before)
    assert llm_audit.recover(PATIENCE)
    for call_id in mine:
        own = calls.find_one_and_delete({"_id": call_id})
        assert own is not None, call_id
        assert own["response_message"] == {"content": "mine"}, call_id
    for one in before:
        assert calls.find_one_and_delete({"_id": one["_id"]}, {"encoding_notes": 0}) == one
    assert calls.count_documents({}) == 0


def test_what_others_left_open_may_be_ended_from_elsewhere(
    recording: Recording, calls: Calls
) -> None:
    """A process may end a call that another has begun, also if its journal is adopted."""
    recording(strict=False)
    owner = "11111111-0000-4000-8000-000000000000"
    for number, (status, key) in enumerate((("PENDING", None), ("INCOMPLETE", Rank.LEFT))):
        call_id = FOREIGN.format(number)
        call = {"_id": call_id, "status": status, "process_nonce": owner}
        calls.insert_one(call | ({"outcome_key": key_of(key)} if key else {}))
        dead_folder(lambda _: [outcome(call_id, OTHER, Rank.ELSEWHERE)])  # noqa: B023
        assert llm_audit.recover(PATIENCE)
        found = calls.find_one({"_id": call_id})
        assert found is not None
        assert found["status"] == "SUCCESS", status


def test_an_invalid_record_costs_itself(
    recording: Recording, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside and counted; what comes before and after it in the same file is shipped."""
    recording(strict=False)
    before, after = FOREIGN.format(1), FOREIGN.format(2)
    nonces = {}
    for name, forge in INVALID.items():

        def records(nonce: str) -> list[bytearray]:
            nonces[nonce] = name  # noqa: B023
            forged = forge(FOREIGN.format(3), nonce)  # noqa: B023
            return [start(f"{before} {name}", nonce), forged, start(f"{after} {name}", nonce)]  # noqa: B023

        dead_folder(records)
    assert llm_audit.recover(PATIENCE)
    for name in INVALID:
        for call_id in (f"{before} {name}", f"{after} {name}"):
            assert calls.count_documents({"_id": call_id, "model": "m"}) == 1, call_id
    assert calls.count_documents({}) == 2 * len(INVALID)
    processes = calls.database["llm_audit_processes"]
    for nonce, name in nonces.items():
        (process,) = processes.find({"_id": nonce})
        assert sum(entry["count"] for entry in process["dropped"]) == 1, (name, process["dropped"])
    aside = list((target_folder() / REJECTED_FOLDER).iterdir())
    assert len(aside) == len(INVALID)
    assert "Traceback" not in caplog.text


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def sparse_record(path: Path) -> None:
    """Make a file that says it begins with a record of 2 GiB."""
    sparse(path)
    with path.open("r+b") as file:
        file.write((2**31 - 1).to_bytes(4, "little"))


IN_PLACE_OF_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": lambda path: os.mkfifo(path, 0o600),
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to(get_settings().spool_dir.parent / "precious"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "another name of a file": lambda path: path.hardlink_to(
        get_settings().spool_dir.parent / "precious"
    ),
    "a huge file": sparse,
    "a huge record": sparse_record,
}
NAMES = (LOCK, "00000001.bson", "losses", "ended", "adopted", f"{'0' * 64}.{'0' * 36}.blob")


def test_nothing_in_the_place_of_a_file_holds_anything_up(
    recording: Recording, calls: Calls
) -> None:
    """Pipes, links, folders and huge files: other journals arrive, no other file is touched."""
    recording(strict=False)
    precious = get_settings().spool_dir.parent / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    for make in IN_PLACE_OF_FILES.values():
        for name in NAMES:
            path = dead_folder(lambda nonce: [raw(start(nonce, nonce), blobs=[NAMES[-1]])]) / name
            path.unlink(missing_ok=True)
            make(path)
        rejected = target_folder() / REJECTED_FOLDER
        rejected.mkdir(mode=0o700, exist_ok=True)
        for name in ("dead.1.bson", f"{path.parent.name}-00000001.damaged", "dead.1.media"):
            make(rejected / f"{len([*rejected.iterdir()])}{name}")
    dead_folder(lambda nonce: [start("good", nonce)])
    assert llm_audit.recover(PATIENCE)
    assert calls.count_documents({"_id": "good"}) == 1
    assert precious.read_text() == "precious"
    assert calls.count_documents({"_id": {"$regex": "precious"}}) == 0

    mine = LLMLogger.start(model="mine", messages=[])
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": mine}) == 1
    assert llm_audit.stats()["not_journaled"] == 0
    named = [problem for problem in llm_audit.doctor().problems if "left alone" in problem]
    assert any(f"/{LOCK} is no file" in problem for problem in named)


def test_what_a_segment_is_set_aside_as_is_no_link(recording: Recording, calls: Calls) -> None:
    """A link in the place where damage is set aside is replaced, and not written through."""
    recording(strict=False)
    precious = get_settings().spool_dir.parent / "precious"
    precious.write_text("precious")
    path = dead_folder(lambda nonce: [start("good", nonce)])
    (path / "00000002.bson").write_bytes(b"\nssh-ed25519 EVIL\n")
    (path / "00000002.bson").chmod(0o600)
    rejected = target_folder() / REJECTED_FOLDER
    rejected.mkdir(mode=0o700)
    (rejected / f"{path.name}-00000002.damaged").symlink_to(precious)
    (rejected / f"{path.name}-00000002.damaged.new").symlink_to(precious)
    assert llm_audit.recover(PATIENCE)

    assert calls.count_documents({"_id": "good"}) == 1
    assert precious.read_text() == "precious"
    (aside,) = rejected.glob("*.damaged")
    assert (aside.is_symlink(), aside.read_bytes()) == (False, b"\nssh-ed25519 EVIL\n")


def test_a_folder_under_another_name_is_left_alone(recording: Recording, calls: Calls) -> None:
    """A lock file says whose it is: a copy of a journal says nothing for another process."""
    recording(strict=False)
    path = dead_folder(lambda nonce: [start("moved", nonce)])
    path.rename(path.with_name("22222222-0000-4000-8000-000000000000"))
    assert llm_audit.recover(PATIENCE)
    assert calls.count_documents({}) == 0
    (problem,) = [one for one in llm_audit.doctor().problems if "another folder" in one]
    assert "left alone" in problem


def test_a_spool_that_others_may_write_is_not_used(
    recording: Recording, calls: Calls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go through memory, and arrive; it is said once, and `doctor` and strict mode say it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    recording(spool_dir=shared / "spool", strict=False)
    ids = [LLMLogger.start(model="m", messages=[]) for _ in range(5)]
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}}) == 5
    assert llm_audit.stats()["not_journaled"] == 5
    assert list(shared.iterdir()) == []
    (said,) = [line for line in caplog.messages if str(shared) in line]
    assert "is not safe" in said
    (problem,) = [one for one in llm_audit.doctor().problems if f"{shared} may be" in one]
    assert "chmod go-w" in problem

    recording(spool_dir=shared / "spool", strict=True)
    with pytest.raises(llm_audit.ConfigurationError, match="is not safe"):
        LLMLogger.start(model="m", messages=[])
    shared.chmod(0o755)
    LLMLogger.start(model="m", messages=[])
    assert llm_audit.stats()["not_journaled"] == 0


@pytest.fixture
def place_for_all() -> Iterator[Path]:
    """Give a folder that other users may enter, as they may not enter pytest's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


AS_A_VICTIM = """
import os, sys
import llm_audit
from llm_audit import LLMLogger
from patience import PATIENCE

spool, own = os.environ["LLM_AUDIT_SPOOL_DIR"], sys.argv[1]
messages = [{"role": "user", "content": "hello"}]
llm_audit.configure(spool_dir=own)
LLMLogger.complete(LLMLogger.start(model="m", messages=messages), response_message={"content": "y"})
assert llm_audit.shutdown(PATIENCE)  # all that is imported late has been, before it cannot be
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
llm_audit.configure(spool_dir=spool)
LLMLogger.complete(LLMLogger.start(model="m", messages=messages), response_message={"content": "y"})
assert llm_audit.flush(PATIENCE)
llm_audit.recover(1)
print(llm_audit.stats()["not_journaled"])
llm_audit.shutdown(PATIENCE)
"""


def planted_by_a_stranger(victims: Path, calls: Calls) -> dict[str, Any]:
    """Plant everything that a stranger can, where the victim is to record; return the target."""
    target = target_folder()
    for name, make in {
        "1": lambda path: (path / "00000001.bson").write_bytes(
            sealed(raw(outcome("acme", **FORGED), blobs=[str(victims / "precious")]))
        ),
        "2": lambda path: (path / "00000001.bson").write_bytes(b"\nssh-ed25519 ATTACKER\n"),
        "3": lambda path: (path / "00000001.bson").symlink_to(victims / "secret"),
    }.items():
        folder = ProcessFolder(target / f"aaaaaaaa-0000-4000-8000-00000000000{name}")
        folder.ensure()
        folder.release()
        make(folder.path)
    rejected = target / REJECTED_FOLDER
    rejected.mkdir()
    (rejected / "aaaaaaaa-0000-4000-8000-000000000002-00000001.damaged").symlink_to(
        victims / "authorized"
    )
    stolen = rejected / "aaaaaaaa-0000-4000-8000-000000000003-00000001.damaged"
    stolen.touch()
    stolen.chmod(0o666)
    call = {"_id": "acme", "status": "SUCCESS", "response_message": {"content": "denied"}}
    calls.insert_one(call)
    return call


def sealed(record: bytearray) -> bytes:
    seal(record, 1)
    return bytes(record)


@as_root
@pytest.mark.parametrize("whose", ["all of it", "what is in it", "only the folders of processes"])
def test_a_stranger_has_planted_a_spool(
    recording: Recording, calls: Calls, place_for_all: Path, whose: str
) -> None:
    """Of what he would have read, written, deleted or said with our rights nothing happens."""
    shared, victims = place_for_all / "shared", place_for_all / "home"
    settings = recording(spool_dir=shared / "spool", strict=False)
    victims.mkdir()
    files = {name: f"{name} of the victim" for name in ("precious", "authorized", "secret")}
    for name, text in files.items():
        (victims / name).write_text(text)
    call = planted_by_a_stranger(victims, calls)
    for path in place_for_all.rglob("*"):
        os.lchown(path, STRANGER, STRANGER)
    for path in (victims, *victims.iterdir()):
        os.chown(path, VICTIM, VICTIM)
    os.chown(shared, 0, 0)
    shared.chmod(0o1777)
    if whose != "all of it":
        os.chown(settings.spool_dir, VICTIM, VICTIM)
    if whose == "only the folders of processes":
        os.chown(target_folder(), VICTIM, VICTIM)

    with child(AS_A_VICTIM, settings, str(place_for_all / "roots")) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    own = whose == "only the folders of processes"
    assert (output == "0\n") is own
    assert errors.count("\n") == 1
    assert ("belongs to user nobody" in errors, "is left alone" in errors) == (True, own)
    assert calls.find_one({"_id": "acme"}) == call
    assert calls.count_documents({"status": "SUCCESS"}) == 3
    assert {path.name: path.read_text() for path in victims.iterdir()} == files
    stolen = (
        target_folder()
        / REJECTED_FOLDER
        / ("aaaaaaaa-0000-4000-8000-000000000003-00000001.damaged")
    )
    assert stolen.read_text() == ""


UNDER_ANY_UMASK = """
import os, sys
os.umask(int(sys.argv[1]))
import llm_audit
from llm_audit import LLMLogger

content = "A" * 400_000  # large media go beside the journal
call_id = LLMLogger.start(model="m", messages=[content])
LLMLogger.complete(call_id, response_message={"content": content})
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_umask_opens_nothing(recording: Recording, tmp_path: Path, umask: int) -> None:
    """Every folder that is missing on the way to the spool is made for this user alone."""
    settings = recording(spool_dir=tmp_path / "var" / "app" / "audit" / "spool")
    with child(UNDER_ANY_UMASK, settings, str(umask)) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    made = list((tmp_path / "var").rglob("*"))
    assert {path.suffix for path in made} >= {".bson", ".blob"}
    for path in (tmp_path / "var", *made):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
