"""What capture costs the calling thread, and what it records, beside others that do the same.

    python -m benchmarks.capture

The others are in a .venv of their own, which this makes: .venv/rivals. Each candidate captures the
calls of openai's client in a process of its own; the provider is a function of that process, so
that nothing but the client and the candidate is measured. They take turns, in random order; in
each turn a candidate makes a few calls and a few streams of 50 chunks, of which the quickest count,
by the CPU time of the calling thread. Shown is the median of the differences to the client with
nothing in the same round. llm-audit journals to the disk of this machine and ships to a MongoDB.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import IO, Any

from benchmarks.captured import CHUNKS, KINDS
from benchmarks.figures import Aim, Table, aims, publish
from benchmarks.rivals import RIVALS
from llm_audit import embedded

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv" / "rivals" / "bin" / "python"
OURS, PLAIN = "llm-audit", "nothing"
MOST_CALL_US, MOST_STREAM_US = 60, 150


def make_venv() -> None:
    """Install the others, where that has not been done."""
    uv, ours = str(ROOT / ".ci" / "uv"), str(ROOT / ".venv" / "bin" / "python")
    if not PYTHON.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", ours, PYTHON.parents[1]], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", PYTHON, "--group", "rivals"]
    subprocess.run([*install, "--group", "tests", "--editable", "."], check=True, cwd=ROOT)


class Candidate:
    """A process in which one of them captures.

    Args:
        name: In the table of rivals.
        environment: Of the process.
        log: What it says besides.
    """

    def __init__(self, name: str, environment: dict[str, str], log: IO[bytes]) -> None:
        self.name = name
        command = [PYTHON, "-m", "benchmarks.captured", "times", name]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        if self._line() != "ready":
            raise RuntimeError(f"{name} does not start")

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def measure(self) -> tuple[float, float]:
        """Return what a call takes, and a stream, in microseconds."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        call, stream = map(float, self._line().split())
        return call, stream

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def times(url: str, folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Return what each adds to a call and to a stream, in microseconds; of nothing what they take.

    Args:
        url: Of a MongoDB.
        folder: Empty, for journals and what the processes say.
        rounds: How often each takes its turn.
    """
    environment = os.environ | {"BENCH_URL": url, "LLM_AUDIT_SPOOL_DIR": str(folder / "spool")}
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with (folder / "log").open("wb") as log:
        candidates = [Candidate(name, environment, log) for name in RIVALS]
        for _ in range(rounds):
            for candidate in random.sample(candidates, len(candidates)):
                found[candidate.name].append(candidate.measure())
        for candidate in candidates:
            candidate.stop()
    plain = found.pop(PLAIN)
    added = {
        name: tuple(
            statistics.median(
                one[what] - other[what] for one, other in zip(taken, plain, strict=True)
            )
            for what in (0, 1)
        )
        for name, taken in found.items()
    }
    taken = tuple(statistics.median(one[what] for one in plain) for what in (0, 1))
    return {PLAIN: (taken[0], taken[1])} | {
        n: (call, stream) for n, (call, stream) in added.items()
    }


def kinds() -> Table:
    """Return what each records of each kind of call."""
    names = [name for name in RIVALS if name != PLAIN]
    seen = {name: _seen_by(name) for name in names}
    rows = [[kind, *(_told(seen[name].get(kind, [])) for name in names)] for kind in KINDS]
    return Table("kinds", ["kind of call", *names], rows)


def _seen_by(name: str) -> dict[str, list[tuple[bool, str]]]:
    command = [PYTHON, "-m", "benchmarks.captured", "kinds", name]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def _told(records: list[tuple[bool, str]]) -> str:
    """Return a cell: what holds text, and how it says that the call ended."""
    if not records:
        return "none"
    told = [end if text else f"{end}, no text" for text, end in records]
    return " + ".join(told)


def main() -> None:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    make_venv()
    with embedded.mongod() as server, tempfile.TemporaryDirectory() as folder:
        measured = times(server.url, Path(folder), options.rounds)
    plain_call, plain_stream = measured.pop(PLAIN)
    rows = [["the client alone", f"{plain_call:.0f}", f"{plain_stream:.0f}"]]
    rows += [
        [name, f"{call:+.0f}", f"{stream:+.0f}"]
        for name, (call, stream) in sorted(measured.items(), key=lambda one: one[1])
    ]
    call, stream = measured.pop(OURS)
    least_call, least_stream = (min(one[what] for one in measured.values()) for what in (0, 1))
    publish(
        "capture",
        [
            Table("calling thread", ("", "µs a call", f"µs a stream of {CHUNKS} chunks"), rows),
            aims(
                Aim("µs added to a call", call, MOST_CALL_US),
                Aim(f"µs added to a stream of {CHUNKS} chunks", stream, MOST_STREAM_US),
                # with the client, as what the least of the others adds may be less than the noise
                Aim(
                    "a call with its client, of that with the least of the others",
                    (plain_call + call) / (plain_call + least_call),
                    1,
                ),
                Aim(
                    "a stream, the same",
                    (plain_stream + stream) / (plain_stream + least_stream),
                    1,
                ),
            ),
            kinds(),
        ],
    )


if __name__ == "__main__":
    main()
