"""What bounds the price of a captured call: the client's own work empties the caches for it.

    python -m benchmarks.cold

All in one process, with nothing to ship to, in random order: openai's client with capture and
without; start and complete by hand, one after the other, and right after a call of the client; and
what any of them needs, a look for secrets, a checksum and a write of a request and its answer. By
the CPU time of the thread, the median of all rounds; of what is captured, of the differences.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import llm_audit
from benchmarks.captured import ASK, CHUNKS, WHOLE, new_client
from benchmarks.figures import Table, publish
from benchmarks.recorders import record_with_llm_audit
from llm_audit.redaction.secrets import look
from llm_audit.testing.records import recorded_nowhere

BODIES = (json.dumps(ASK).encode(), WHOLE)


def needed(descriptor: int) -> None:
    """Do what no record can do without."""
    for body in BODIES:
        look.may_be_in(body)
        crc32(body)
        os.write(descriptor, body)


def spent(act: Callable[[], object]) -> float:
    """Return the microseconds of CPU that something takes in this thread."""
    began = time.thread_time_ns()
    act()
    return (time.thread_time_ns() - began) / 1000


def rounds(count: int, folder: Path) -> dict[str, list[float]]:
    """Return what each takes, round by round."""
    client = new_client()
    call = partial(client.chat.completions.create, **ASK)

    def stream() -> None:
        for _ in client.chat.completions.create(**ASK, stream=True):
            pass

    file = os.open(folder / "records", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    alone = {"what any record needs": partial(needed, file)}
    alone["start and complete, by hand"] = record_with_llm_audit
    acts = {"a captured call": call, f"a captured stream of {CHUNKS} chunks": stream}
    found: dict[str, list[float]] = defaultdict(list)

    def captured(name: str, act: Callable[[], object]) -> None:
        without = spent(act)
        llm_audit.instrument()
        found[name].append(spent(act) - without)
        llm_audit.uninstrument()

    def by_itself(name: str, act: Callable[[], object]) -> None:
        act()
        found[f"{name}, one after the other"].append(spent(act))
        call()
        found[f"{name}, right after a call of the client"].append(spent(act))

    for _ in range(count):
        turns = [partial(captured, *one) for one in acts.items()]
        turns += [partial(by_itself, *one) for one in alone.items()]
        for turn in random.sample(turns, len(turns)):
            turn()
    os.close(file)
    return found


def main() -> None:
    """Measure, and publish what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    count = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, recorded_nowhere(Path(folder) / "spool"):
        rounds(20, Path(folder))
        found = rounds(count, Path(folder))
    rows = [[name, f"{statistics.median(taken):.0f}"] for name, taken in sorted(found.items())]
    publish("cold", [Table("what bounds it", ["", "µs of the processor"], rows)])


if __name__ == "__main__":
    main()
