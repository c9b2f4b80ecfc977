import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pymongo
import pymongo.errors
import pytest
from waiting import until

from llm_audit import embedded
from llm_audit.embedded.server import FOLDER_PREFIX

SERVERS = [embedded.Mongod, embedded.Redis]
UNAUTHORIZED = 13


def runs(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return False
    return state != "Z"


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide every mongod and redis-server, and return the one folder on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for server in SERVERS:
        monkeypatch.setattr(server, "wheels", {"no-such-distribution": "bin/server"})
    return tmp_path


def test_mongod_stores_and_leaves_nothing_behind() -> None:
    """A mongod answers clients inside the block; after it neither process nor folder is left."""
    with embedded.mongod() as server:
        assert isinstance(server, embedded.Mongod)
        pid, folder = server.pid, server.folder
        with pymongo.MongoClient(server.url) as client:
            client.db.things.insert_one({"_id": 1})
            assert client.db.things.find_one() == {"_id": 1}
            assert client.admin.command("serverStatus")["pid"] == pid
        assert folder.is_dir()

    assert pid is not None
    assert not runs(pid)
    assert not folder.exists()


def test_redis_stores_and_leaves_nothing_behind() -> None:
    """A redis-server answers clients inside the block; after it nothing of it is left."""
    redis = pytest.importorskip("redis")
    with embedded.redis_server() as server:
        pid, folder = server.pid, server.folder
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
            assert client.get("key") == b"value"
            assert client.info("server")["process_id"] == pid

    assert pid is not None
    assert not runs(pid)
    assert not folder.exists()


def test_mongod_answers_nobody_else(mongod: embedded.Mongod) -> None:
    """Another user of this machine reaches the port, and may do nothing there but greet."""
    may_not = {
        "insert": {"documents": [{}]},
        "find": {},
        "mapReduce": {"map": "function() {}", "reduce": "function() {}", "out": {"inline": 1}},
        "createUser": {"pwd": "x", "roles": []},  # as whoever comes first may by default
        "listDatabases": {},
        "serverStatus": {},
        "shutdown": {},
    }
    with pymongo.MongoClient(mongod.address, compressors="zlib") as client:
        for command, options in may_not.items():
            with pytest.raises(pymongo.errors.OperationFailure) as refused:
                client.admin.command(command, "x", **options)
            assert refused.value.code == UNAUTHORIZED, command
        assert "compression" not in client.admin.command("hello", compression=["zlib"])
    with (
        pymongo.MongoClient(mongod.url.replace(mongod.secret, "0" * 64)) as client,
        pytest.raises(pymongo.errors.OperationFailure, match="Authentication failed"),
    ):
        client.admin.command("ping")


def test_redis_answers_nobody_else() -> None:
    """Another user of this machine reaches the port, and may neither read nor run scripts."""
    redis = pytest.importorskip("redis")
    with embedded.redis_server() as server, redis.Redis(port=server.port) as client:
        for command in ("PING", "GET x", "SET x 1", "EVAL 1 0", "CONFIG GET dir", "MONITOR"):
            with pytest.raises(redis.AuthenticationError):
                client.execute_command(*command.split())


@pytest.mark.parametrize("server_type", SERVERS)
def test_a_secret_is_where_only_its_owner_looks(server_type: type[embedded.Redis]) -> None:
    """Nobody else enters the folder, nobody reads the secret in a list of processes or in a log."""
    mask = os.umask(0)
    try:
        with server_type() as server:
            supervisor = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[1]
            commands = [
                Path(f"/proc/{pid}/cmdline").read_text() for pid in (server.pid, supervisor)
            ]
            others = server_type()
            with others:
                assert others.secret != server.secret

            assert all(server.program in command for command in commands)
            assert server.secret not in " ".join(commands)
            assert server.secret not in (server.folder / "log").read_text()
            assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
            with_secret = [path for path in server.folder.iterdir() if path.is_file()]
            with_secret = [path for path in with_secret if server.secret in path.read_text()]
            assert [stat.S_IMODE(path.stat().st_mode) for path in with_secret] == [0o600]
    finally:
        os.umask(mask)


def test_a_replica_set_has_transactions(replica_set: embedded.Mongod) -> None:
    """A mongod started as a replica set is primary at once and takes transactions."""
    with pymongo.MongoClient(replica_set.url) as client, client.start_session() as session:
        with session.start_transaction():
            client.db.things.insert_one({"_id": 1}, session=session)
            session.abort_transaction()

        assert client.db.things.count_documents({}) == 0


@pytest.mark.parametrize("replica", [False, True], ids=["standalone", "replica set"])
def test_restart_keeps_port_and_data(replica: bool) -> None:
    """A crashed mongod comes back on its port with what it had acknowledged."""
    with embedded.Mongod(replica_set=replica) as server:
        url, first_pid = server.url, server.pid
        with pymongo.MongoClient(url, journal=True) as client:
            client.db.things.insert_one({"_id": 1})
            server.kill()
            assert server.pid is None
            server.restart()

            assert server.url == url
            assert server.pid != first_pid
            assert client.db.things.find_one() == {"_id": 1}


def test_a_frozen_server_is_silent_until_thawed() -> None:
    """A frozen mongod takes connections and answers nothing; thawed, it goes on."""
    with (
        embedded.Mongod() as server,
        pymongo.MongoClient(server.url, socketTimeoutMS=300, retryReads=False) as client,
    ):
        client.admin.command("ping")
        server.freeze()
        with pytest.raises(pymongo.errors.NetworkTimeout):
            client.admin.command("ping")
        server.thaw()

        with pymongo.MongoClient(server.url) as patient:
            assert patient.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize("server_type", SERVERS)
def test_a_server_that_does_not_run_cannot_be_frozen(server_type: type[embedded.Redis]) -> None:
    """Freezing what does not run says what to call first."""
    with pytest.raises(RuntimeError, match=r"call start\(\)"):
        server_type().freeze()


@pytest.mark.usefixtures("no_programs")
def test_an_external_mongo_url_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLM_AUDIT_MONGO_URL is taken as it is, where no mongod could be started at all."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", "mongodb://elsewhere:27017")

    with embedded.mongod() as server:
        assert (server.url, server.pid) == ("mongodb://elsewhere:27017", None)


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize("server_type", SERVERS)
def test_a_missing_program_is_one_clear_error(server_type: type[embedded.Redis]) -> None:
    """Without a program the error names it, the extra that has it, and docker compose."""
    with pytest.raises(embedded.EmbeddedUnavailableError) as caught:
        server_type().start()

    message = str(caught.value)
    assert server_type.program in message
    assert "llm-audit[embedded]" in message
    assert "docker compose up -d" in message
    assert "\n" not in message


def test_a_failed_start_shows_the_log_and_leaves_nothing(no_programs: Path) -> None:
    """What the program said before it gave up is in the error, and its folder is gone."""
    program = no_programs / "mongod"
    program.write_text('#!/bin/sh\necho "cannot serve $2"\n')
    program.chmod(0o755)
    server = embedded.Mongod()

    with pytest.raises(embedded.EmbeddedUnavailableError, match="cannot serve") as caught:
        server.start()

    assert str(server.folder / "data") in str(caught.value)
    assert not server.folder.exists()


@pytest.mark.parametrize("settable", [True, False], ids=["settable", "read-only"])
def test_a_lost_run_bit_is_mended(
    settable: bool, no_programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel's program that lost its run bit is given it, or copied where that is refused."""
    shipped = no_programs / "shop" / "mongod"
    shipped.parent.mkdir()
    shipped.write_text("#!/bin/sh\n")
    (no_programs / "shop-1.dist-info").mkdir()
    (no_programs / "shop-1.dist-info" / "METADATA").write_text("Name: shop\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(no_programs))
    monkeypatch.setattr(embedded.Mongod, "wheels", {"shop": "shop/mongod"})
    if not settable:
        change_mode = Path.chmod

        def chmod(path: Path, mode: int) -> None:
            if path == shipped:
                raise PermissionError
            change_mode(path, mode)

        monkeypatch.setattr(Path, "chmod", chmod)

    binary = embedded.Mongod.binary()

    assert (binary == shipped) is settable
    assert os.access(binary, os.X_OK)
    assert binary.read_text() == shipped.read_text()


def test_leftovers_go_and_living_folders_stay() -> None:
    """The next start removes a folder that nobody holds, and leaves a living server's alone."""
    with embedded.Redis() as living:
        abandoned = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        (abandoned / "lock").touch()
        with embedded.Redis():
            assert not abandoned.exists()
            assert living.folder.is_dir()


def test_a_forked_child_does_not_end_the_server() -> None:
    """A forked child that leaves the block takes nothing with it."""
    with embedded.Redis() as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        os.waitpid(child, 0)

        assert server.pid is not None
        assert runs(server.pid)
        assert server.folder.is_dir()


PARENT = textwrap.dedent(
    """
    import os, sys, time
    from llm_audit import embedded

    with embedded.mongod() as mongod, embedded.redis_server() as redis:
        child = os.fork()  # holds what the parent had open, and lives on
        if child:
            print(mongod.pid, redis.pid, mongod.folder, redis.folder, child, flush=True)
        time.sleep(600)
    """
)


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """Run a process that has started both servers and forked a child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_die_with_their_parent(
    parent: subprocess.Popen[str], number: signal.Signals
) -> None:
    """However the parent dies, servers and folders go, even while a forked child lives on."""
    assert parent.stdout is not None
    *words, child = parent.stdout.readline().split()
    pids, folders = [int(word) for word in words[:2]], [Path(word) for word in words[2:]]
    try:
        assert all(runs(pid) for pid in pids)
        assert all(folder.is_dir() for folder in folders)

        parent.send_signal(number)
        parent.wait()

        until(lambda: not any(runs(pid) for pid in pids))
        until(lambda: not any(folder.exists() for folder in folders))
        assert runs(int(child))
    finally:
        with suppress(ProcessLookupError):  # then the assertion says more
            os.kill(int(child), signal.SIGKILL)
