"""Threads that share a connection share one client, with its sockets."""

import threading
from concurrent.futures import ThreadPoolExecutor

from llm_audit.settings import Settings
from llm_audit.store.connection import Connection

THREADS = 8


def test_threads_that_begin_together_open_one_client() -> None:
    """The agent's threads all ask for it first at the same moment."""
    url = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1"
    connection = Connection(Settings(mongo_url=url, create_collection=False))
    together = threading.Barrier(THREADS)

    def ask() -> int:
        together.wait()
        return id(connection.processes().database.client)

    with ThreadPoolExecutor(THREADS) as threads:
        clients = {future.result() for future in [threads.submit(ask) for _ in range(THREADS)]}
    connection.close()
    assert len(clients) == 1
