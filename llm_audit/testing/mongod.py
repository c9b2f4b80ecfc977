"""A real MongoDB for a test: a server for the whole run, a database for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
from pymongo.collection import Collection

from llm_audit.settings import get_settings
from llm_audit.testing.isolation import isolated

FLUSH_SECONDS = 10.0


@dataclass(frozen=True)
class FreshDatabase:
    """A database of the test's own on a real MongoDB.

    Attributes:
        url: The server's connection string.
        database: The name of the database, which is dropped after the test.
        calls: The collection of calls in it, with plain PyMongo. What is recorded arrives there
            once `llm_audit.flush()` has returned.
    """

    url: str
    database: str
    calls: Collection[dict[str, Any]]


@contextmanager
def fresh_database(url: str, spool_dir: Path) -> Iterator[FreshDatabase]:
    """Record into a database made for the length of the block.

    Args:
        url: The server's connection string.
        spool_dir: An empty folder.
    """
    name = f"test_{uuid4().hex}"
    with pymongo.MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        try:
            with isolated(spool_dir, FLUSH_SECONDS, mongo_url=url, database=name):
                yield FreshDatabase(url, name, client[name][get_settings().collection])
        finally:
            client.drop_database(name)
