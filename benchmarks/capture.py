"""What capture costs the calling thread, and what it records, beside others that do the same.

    python -m benchmarks.capture

The others are in a .venv of their own, which this makes: .venv/rivals. Each candidate captures the
calls of openai's client in a process of its own; the provider is a function of that process, so
that nothing but the client and the candidate is measured. They take turns, in random order; in
each turn a candidate makes a few calls in a row, and a few streams of 50 chunks, right before or
after a process with the client alone does the same. Shown is the median of the differences between
the two, so that what else the machine does meets both. llm-audit journals to the disk of this
machine and ships to a MongoDB.
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
OURS, PLAIN, ALONE = "llm-audit", "nothing", "the client alone"
MOST_CALL_US, MOST_STREAM_US = 60, 150
CALL, STREAM = 0, 3  # where these are in what is measured
TITLES = [
    *("", "µs a call", "by the clock", "the first"),
    *(f"µs a stream of {CHUNKS} chunks", "by the clock", "the first"),
]


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

    def measure(self) -> list[float]:
        """Return what a call takes, and a stream: each as `captured` says it, in microseconds."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        taken: list[float] = json.loads(self._line())
        return taken

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def times(url: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return what each adds to a call and to a stream, in microseconds, and what they take alone.

    Nothing is a candidate, too: what it adds is how exact the others are.

    Args:
        url: Of a MongoDB.
        folder: Empty, for journals and what the processes say.
        rounds: How often each takes its turn.
    """
    environment = os.environ | {"BENCH_URL": url, "LLM_AUDIT_SPOOL_DIR": str(folder / "spool")}
    found: dict[str, list[list[float]]] = defaultdict(list)
    with (folder / "log").open("wb") as log:
        plain = Candidate(PLAIN, environment, log)
        candidates = [Candidate(name, environment, log) for name in RIVALS]
        for _ in range(rounds):
            for candidate in random.sample(candidates, len(candidates)):
                both = random.sample((plain, candidate), 2)  # who comes first may have it harder
                taken = {one: one.measure() for one in both}
                found[ALONE].append(taken[plain])
                pairs = zip(taken[candidate], taken[plain], strict=True)
                found[candidate.name].append([one - other for one, other in pairs])
        for candidate in (plain, *candidates):
            candidate.stop()
    return {
        name: [*map(statistics.median, zip(*measured, strict=True))]
        for name, measured in found.items()
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
    plain = measured.pop(ALONE)
    rows = [[ALONE, *(f"{one:.0f}" for one in plain)]]
    rows += [
        ["the same again" if name == PLAIN else name, *(f"{one:+.0f}" for one in added)]
        for name, added in sorted(measured.items(), key=lambda one: one[1])
    ]
    del measured[PLAIN]
    ours = measured.pop(OURS)
    least = [min(each) for each in zip(*measured.values(), strict=True)]
    call, stream = ours[CALL], ours[STREAM]
    publish(
        "capture",
        [
            Table("calling thread", TITLES, rows),
            aims(
                Aim("µs added to a call", call, MOST_CALL_US),
                Aim(f"µs added to a stream of {CHUNKS} chunks", stream, MOST_STREAM_US),
                # with the client, as what the least of the others adds may be less than the noise
                Aim(
                    "a call with its client, of that with the least of the others",
                    (plain[CALL] + call) / (plain[CALL] + least[CALL]),
                    1,
                ),
                Aim(
                    "a stream, the same",
                    (plain[STREAM] + stream) / (plain[STREAM] + least[STREAM]),
                    1,
                ),
            ),
            kinds(),
        ],
    )


if __name__ == "__main__":
    main()
