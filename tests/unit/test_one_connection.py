"""However many threads send: a process has one connection to MongoDB."""

import threading

from llm_audit.settings import Settings
from llm_audit.store.connection import Connection

THREADS = 8


def test_threads_that_begin_together_open_one_client() -> None:
    """None is left behind that nobody closes."""
    connection = Connection(Settings(mongo_url="mongodb://127.0.0.1:1", create_collection=False))
    together, clients = threading.Barrier(THREADS), []

    def ask() -> None:
        together.wait()
        clients.append(connection.calls().database.client)

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection.close()
    assert len(clients) == THREADS
    assert len(set(map(id, clients))) == 1
