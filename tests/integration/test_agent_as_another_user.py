"""An agent of a user of its own ships for apps of several users, and believes none for another."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen

import bson
import pytest
import users
from bson.int64 import Int64
from children import child
from made_up_records import journal_of
from patience import PATIENCE
from users import AGENT, APP, GROUP, OTHER_APP, as_root, group_folder, listing, user
from waiting import Calls, Recording, until

from llm_audit.agent.agent import Agent
from llm_audit.journal.precedence import Rank, lowest_key
from llm_audit.journal.records import OWN, START, pack
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.settings import get_settings

pytestmark = as_root

# Records as a user, tells its folder and its calls, then does what it reads.
AS_AN_APP = """
import sys
import llm_audit, users
from llm_audit import LLMLogger
from llm_audit.recorder import process
from patience import PATIENCE

def record():
    content = [{"type": "image", "data": "A" * 400_000}]  # what is large lies beside the journal
    call_id = LLMLogger.start(model="m", messages=[{"role": "user", "content": content}])
    LLMLogger.complete(call_id, response_message={"content": "y"})
    return call_id

uid, own = int(sys.argv[1]), sys.argv[2]
record()  # where root may: what is imported late has been, before it cannot be
llm_audit.shutdown(0)
users.become(uid, users.GROUP)
llm_audit.configure(spool_dir=own)
print(record(), process.recorder().path.name)
for line in sys.stdin:
    if line == "flush\\n":
        print(bool(llm_audit.flush(PATIENCE)), llm_audit.stats()["not_journaled"])
    elif line == "look\\n":
        print(bool(llm_audit.flush(2)))
    else:
        print(record())
"""
AS_AN_AGENT = """
import sys, threading
import users
from llm_audit.agent.agent import Agent
from llm_audit.settings import get_settings

uid, own = int(sys.argv[1]), sys.argv[2]
Agent(get_settings()).once(30)
import llm_audit
users.become(uid, users.GROUP)
llm_audit.configure(spool_dir=own)
agent = Agent(get_settings())
thread = threading.Thread(target=agent.run)
thread.start()
print("runs")
sys.stdin.read()
agent.stop()
thread.join()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with users.place_for_all() as path:
        yield path


@pytest.fixture
def spool_dir(recording: Recording, place: Path) -> Path:
    """Share a spool, for this process, too, which is root."""
    folder = group_folder(place / "spool")
    recording(spool_dir=folder, shipper="agent", spool_group=GROUP, strict=False)
    return get_settings().spool_dir


@contextmanager
def running(
    script: str, uid: int, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Popen[str]]:
    monkeypatch.setenv("LLM_AUDIT_SHIPPER", "agent")
    monkeypatch.setenv("LLM_AUDIT_SPOOL_GROUP", str(GROUP))
    roots = spool_dir.parent / f"roots-{uid}"
    if not roots.exists():
        group_folder(roots)
    settings = get_settings().model_copy(update={"spool_dir": roots})
    with child(script, settings, str(uid), str(spool_dir)) as process:
        yield process


def said(process: Popen[str], line: str = "") -> list[str]:
    """Tell a process something, and return what it says."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    words = process.stdout.readline().split()
    assert words, process.communicate()
    return words


def target_folder() -> Path:
    return get_settings().spool_dir / get_settings().target("agent")


@pytest.mark.parametrize("agents_uid", [AGENT, 0])
def test_it_ships_for_two_users_and_touches_no_file_of_theirs(
    spool_dir: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, agents_uid: int
) -> None:
    """In their folders it writes what is its own, and removes what has arrived, and no more."""
    with ExitStack() as stack:
        apps = [
            stack.enter_context(running(AS_AN_APP, uid, spool_dir, monkeypatch))
            for uid in (APP, OTHER_APP)
        ]
        told = [said(app) for app in apps]
        ids = [call_id for call_id, _ in told]
        before = listing(target_folder())
        assert {owner for owner, *_ in before.values()} == {APP, OTHER_APP}
        agent = stack.enter_context(running(AS_AN_AGENT, agents_uid, spool_dir, monkeypatch))
        assert said(agent) == ["runs"]
        assert [said(app, "flush") for app in apps] == [["True", "0"]] * 2
        assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 2

        after = listing(target_folder())
        for _, name in told:
            assert name in after
        changed = {path for path in before.keys() & after.keys() if before[path] != after[path]}
        assert {Path(path).name for path in changed} <= {"stats", "losses"}
        for path in before.keys() - after.keys():
            assert Path(path).suffix in {".bson", ".blob"}, path
        for path in after.keys() - before.keys():
            name, (owner, group, mode, *_) = Path(path).name, after[path]
            if owner in (APP, OTHER_APP) and owner != agents_uid:
                assert name in {"awaited", "stats"} or name.endswith((".bson", ".blob")), path
            else:
                assert owner == agents_uid, path
                assert path.startswith("agent") or name in {"acknowledged", "adopted"}, path
                assert (group, int(mode, 8) & 0o007) == (GROUP, 0), path

        for app in apps:
            app.kill()
        until(lambda: {path.name for path in target_folder().iterdir()} <= {"agent", "rejected"})
        assert agent.poll() is None
        agent.communicate("")
    documents = calls.database["llm_audit_processes"]
    assert {one["_id"] for one in documents.find()} >= {name for _, name in told}
    assert calls.database["fs.files"].estimated_document_count() >= 1


def start(call_id: str, nonce: str) -> bytearray:
    return pack(START, call_id, 0, bson.encode({"model": "m", "process_nonce": nonce}))


def outcome(call_id: str, answer: str) -> bytearray:
    key = lowest_key(Rank.OWNER + 1) - 1
    said = {"status": "SUCCESS", "response_message": {"content": answer}}
    times = {"completed_at": datetime.now(UTC), "outcome_key": Int64(key)}
    return pack(OWN, call_id, key, bson.encode(said | times))


def test_a_living_app_is_not_deceived_about_its_folder(
    spool_dir: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member who exchanges it hinders the app, which says so, and writes nothing for him."""
    with running(AS_AN_APP, APP, spool_dir, monkeypatch) as app:
        first, name = said(app)
        path = target_folder() / name
        with user(OTHER_APP, GROUP):
            path.rename(path.with_name("away"))
            path.mkdir()
            path.chmod(0o2770)
            segment(path / "acknowledged", bson.encode({"through": 1_000, "read": 1_000}))
        planted = listing(path)
        (second,) = said(app, "record")
        with running(AS_AN_AGENT, AGENT, spool_dir, monkeypatch) as agent:
            assert said(agent) == ["runs"]
            assert said(app, "look") == ["False"]
            assert listing(path) == planted
            with user(OTHER_APP, GROUP):
                shutil.rmtree(path)
                path.with_name("away").rename(path)
            assert said(app, "flush")[0] == "True"
            assert calls.count_documents({"_id": {"$in": [first, second]}}) == 2
            agent.communicate("")


def leave(uid: int, name: str, *records: bytearray) -> Path:
    """Leave a journal as a killed process of a user does."""
    with user(uid, GROUP):
        folder = ProcessFolder(target_folder() / name)
        folder.ensure()
        journal_of(folder.path, records).close()
        folder.release()
    return folder.path


def once(uid: int) -> None:
    with user(uid, GROUP):
        assert Agent(get_settings()).once(PATIENCE) is not None


Attack = Callable[[Path, bytes], object]


def segment(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o640)


def swap(path: Path, data: bytes) -> None:
    """Put a folder of one's own under the name of another's."""
    path.rename(path.with_name("away"))
    folder = ProcessFolder(path)
    folder.ensure()
    folder.release()
    segment(path / "00000001.bson", data)


ATTACKS: dict[str, Attack] = {
    "a segment": lambda path, data: segment(path / "00000009.bson", data),
    "another lock": lambda path, data: (
        (path / "lock").unlink(),
        segment(path / "lock", b"{}"),
        segment(path / "00000009.bson", data),
    ),
    "a folder in its place": swap,
    "a pipe": lambda path, _: [
        os.mkfifo(path / name, 0o640) for name in ("acknowledged", "awaited", "stats", "ended")
    ],
    "folders": lambda path, _: [
        (path / name).mkdir() for name in ("acknowledged", "awaited", "stats", "acknowledged.new")
    ],
    "huge files": lambda path, _: [
        (segment(path / name, b""), os.truncate(path / name, 2**40))
        for name in ("acknowledged", "awaited", "stats", "losses", "00000009.bson")
    ],
    "hostile names": lambda path, data: [
        segment(path / name, data) for name in ("\x1b[31m\n.bson", "00000001.bson\n", "\u202e.bson")
    ],
    "links": lambda path, _: [
        (path / name).symlink_to("/etc/passwd")
        for name in ("acknowledged", "awaited", "stats", "acknowledged.new", "adopted")
    ],
}


IN_HIS_OWN_WAY = {"another lock", "a folder in its place"}  # who did that can as well remove it


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("agents_uid", [AGENT, 0])
def test_a_member_forges_no_call_of_another(
    spool_dir: Path,  # noqa: ARG001
    calls: Calls,
    name: str,
    agents_uid: int,
) -> None:
    """What he plants in another's folder is not shipped as the other's, and holds nobody up."""
    nonce = f"11111111-0000-4000-8000-000000000000-u{APP}"
    his = f"22222222-0000-4000-8000-000000000000-u{OTHER_APP}"
    calls.insert_one({"_id": "told", "status": "SUCCESS", "process_nonce": nonce})
    path = leave(APP, nonce, start("mine", nonce), outcome("mine", "mine"))
    forged = leave(OTHER_APP, his, start("forged", nonce), outcome("told", "forged"))
    data = (forged / "00000001.bson").read_bytes()
    with user(OTHER_APP, GROUP):
        ATTACKS[name](path, data)
    leave(OTHER_APP, his.replace("2222-", "3333-", 1), start("bystander", ""))
    once(agents_uid)
    assert calls.count_documents({"_id": "forged"}) == 0
    told = calls.find_one({"_id": "told"})
    assert told == {"_id": "told", "status": "SUCCESS", "process_nonce": nonce}
    assert calls.count_documents({"_id": "bystander"}) == 1
    if name not in IN_HIS_OWN_WAY:
        assert calls.count_documents({"_id": "mine", "status": "SUCCESS"}) == 1
