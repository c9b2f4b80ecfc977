"""What it costs to deliver at the end of each request, where nothing runs between requests.

    python -m benchmarks.request_ends

A request records one call and then ends as a candidate does. Candidates take turns; each figure is
the median of several rounds. Write concern majority with the journal, on a mongod of this machine.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable

import llm_audit
from benchmarks.figures import Table, publish
from benchmarks.recorders import document_bytes, fresh_collection
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit import LLMLogger, embedded

DATABASE = "bench_llm_audit"
PAUSE_SECONDS = 0.02  # between requests
WARM_UP_REQUESTS = 5

ENDS: dict[str, Callable[[], object]] = {
    "nothing: what is recorded waits for the next request": lambda: None,
    "`llm_audit.flush()`": llm_audit.flush,
    "`llm_audit.shutdown()`, connecting anew each time": llm_audit.shutdown,
}


def measure(url: str, rounds: int, requests: int) -> Table:
    """Return how long a request takes that records a call, in milliseconds."""
    medians, tails = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for name, end in ENDS.items():
            fresh_collection(url, DATABASE).database.client.close()
            with tempfile.TemporaryDirectory() as folder:
                llm_audit.configure(mongo_url=url, database=DATABASE, spool_dir=folder)
                times = sorted(_request(end) for _ in range(WARM_UP_REQUESTS + requests))
                llm_audit.shutdown(timeout_seconds=60)
            medians[name].append(statistics.median(times))
            tails[name].append(times[int(len(times) * 0.99)])
    rows = [
        (name, f"{statistics.median(medians[name]):.1f}", f"{statistics.median(tails[name]):.1f}")
        for name in ENDS
    ]
    return Table("requests", ("at the end of each request", "median ms", "p99 ms"), rows)


def _request(end: Callable[[], object]) -> float:
    time.sleep(PAUSE_SECONDS)
    began = time.perf_counter()
    call_id = LLMLogger.start(call_type="CHAT", **REQUEST)
    LLMLogger.complete(call_id, response_message=ANSWER, tokens=USAGE)
    if end() is False:
        raise RuntimeError("not everything arrived: the figures mean nothing")
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Run the measurement and publish it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100, help="requests a round")
    options = parser.parse_args()
    print(f"A call of {document_bytes()} bytes of BSON; {os.cpu_count()} cores, shared with mongod")
    with embedded.mongod() as server:
        publish("request_ends", [measure(server.url, options.rounds, options.requests)])


if __name__ == "__main__":
    main()
