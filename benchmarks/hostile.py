"""How long what is huge or hostile holds the thread that records it, and what it takes of memory.

    python -m benchmarks.hostile                 # everything; words of a row's name choose some
    python -m benchmarks.hostile --search        # how a search grows with what is in one call

Each row is a process of its own, with nobody to ship to. Seconds are of the processor and of the
calling thread alone: other work on the machine does not count.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from uuid_utils import uuid7

import llm_audit
from llm_audit import LLMLogger, embedded, pipelines

MIB = 2**20
PATIENCE_SECONDS = 120
TEXT = "word " * 20_000_000  # 100 MB


class Same:
    """A key that is like every other of its kind."""

    def __repr__(self) -> str:
        return "same"


class Vast:
    """An object that has much to say of itself."""

    def __repr__(self) -> str:
        return "x" * 500_000_000


class Slow:
    """An object that takes long to say what it is."""

    def __repr__(self) -> str:
        time.sleep(0.1)
        return "slow"


def bomb(levels: int, width: int) -> list[Any]:
    """Return lists in each other, each of them many times in the next one."""
    inside: list[Any] = ["lol"] * width
    for _ in range(levels):
        inside = [inside] * width
    return inside


def start(**given: Any) -> str:
    """Begin a call."""
    return LLMLogger.start(model="m", **given)


def end(**given: Any) -> None:
    """End the call that was begun for it."""
    LLMLogger.complete(OPEN[0], **given)


def fail(error: BaseException) -> None:
    """End it with an error."""
    LLMLogger.fail(OPEN[0], error)


def _tool_calls(count: int) -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": str(n), "type": "function", "function": function} for n in range(count)]
    return {"role": "assistant", "tool_calls": calls}


def _chained(count: int) -> BaseException:
    error = ValueError("first")
    for number in range(count):
        other = ValueError(str(number))
        other.__cause__, error = error, other
    return error


def _noted(count: int) -> BaseException:
    error = ValueError("noted")
    for number in range(count):
        error.add_note(f"note {number}")
    return error


OPEN: list[str] = []
# What is done, after what it takes is made.
ROWS: dict[str, Callable[[], Callable[[], object]]] = {
    "text of 100 MB in a request": lambda: lambda: start(messages=[{"content": TEXT}]),
    "text of 100 MB in a response": lambda: lambda: end(response_message={"content": TEXT}),
    "text of 100 MB, 8 times": lambda: lambda: start(messages=[{"content": TEXT}] * 8),
    "wide text of 100 MB": lambda: (t := "wört " * 17_000_000) and (lambda: start(input=t)),
    "base64 of 100 MB": lambda: (t := "A" * 100_000_000) and (lambda: start(input=t)),
    "bytes of 100 MB": lambda: (t := b"\0" * 100_000_000) and (lambda: start(input=t)),
    "a million keys": lambda: (
        (d := {f"k{n}": n for n in range(10**6)}) and (lambda: start(metadata=d))
    ),
    "a million numbers as keys": lambda: (
        (d := {n: n for n in range(10**6)}) and (lambda: start(metadata=d))
    ),
    "two million short texts": lambda: (
        (d := ["ab"] * (2 * 10**6)) and (lambda: start(metadata={"a": d}))
    ),
    "a million messages": lambda: (
        (m := [{"role": "user", "content": "x"} for _ in range(10**6)])
        and (lambda: start(messages=m))
    ),
    "100,000 tools": lambda: (
        (t := [{"type": "f", "function": {"name": str(n)}} for n in range(10**5)])
        and (lambda: start(tools=t))
    ),
    "a million tags": lambda: (t := [f"t{n}" for n in range(10**6)]) and (lambda: start(tags=t)),
    "20,000 keywords": lambda: (k := {f"k{n}": n for n in range(20_000)}) and (lambda: start(**k)),
    "200,000 tool calls": lambda: (m := _tool_calls(200_000)) and (lambda: end(response_message=m)),
    "200,000 tool calls in a body": lambda: (
        (b := {"choices": [{"message": _tool_calls(200_000)}], "usage": {"prompt_tokens": 1}})
        and (lambda: end(response=b))
    ),
    "20,000 tool calls in a body": lambda: (
        (b := {"choices": [{"message": _tool_calls(20_000)}], "usage": {"prompt_tokens": 1}})
        and (lambda: end(response=b))
    ),
    "lists in each other, 10^9": lambda: (b := bomb(8, 10)) and (lambda: start(metadata={"a": b})),
    "lists in each other, 2^60": lambda: (b := bomb(60, 2)) and (lambda: start(messages=b)),
    "the same in a response": lambda: (b := bomb(60, 2)) and (lambda: end(response={"a": b})),
    "the same in a message": lambda: (b := bomb(60, 2)) and (lambda: end(response_message=b)),
    "the same in tokens": lambda: (b := bomb(60, 2)) and (lambda: end(tokens={"a": b})),
    "the same in an error": lambda: (b := bomb(60, 2)) and (lambda: fail(ValueError(b))),
    "the same below an object": lambda: (
        (b := {"a": Same(), "b": bomb(60, 2)}) and (lambda: start(metadata=b))
    ),
    "20,000 keys of one name": lambda: (
        (d := {Same(): n for n in range(20_000)}) and (lambda: start(metadata=d))
    ),
    "200,000 objects": lambda: (
        (o := [Same() for _ in range(200_000)]) and (lambda: start(metadata={"a": o}))
    ),
    "repr of 500 MB": lambda: lambda: start(metadata={"a": Vast()}),
    "100 objects, 0.1 s for each repr": lambda: (
        (o := [Slow() for _ in range(100)]) and (lambda: start(metadata={"a": o}))
    ),
    "error of 200 MB": lambda: (e := ValueError("x" * 200_000_000)) and (lambda: fail(e)),
    "20,000 errors in a chain": lambda: (e := _chained(20_000)) and (lambda: fail(e)),
    "200,000 notes of an error": lambda: (e := _noted(200_000)) and (lambda: fail(e)),
    "score with a comment of 100 MB": lambda: (
        lambda: LLMLogger.score(OPEN[0], "s", 1, comment=TEXT)
    ),
    "annotation with a million keys": lambda: (
        (d := {f"k{n}": n for n in range(10**6)})
        and (lambda: LLMLogger.annotate(OPEN[0], metadata=d))
    ),
}


def main(words: list[str]) -> None:
    """Print each row."""
    for name in ROWS:
        if not words or any(word in name for word in words):
            command = [sys.executable, "-m", "benchmarks.hostile", "--row", name]
            try:
                ended = subprocess.run(
                    command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
                )
                print(
                    f"{name:34} {ended.stdout.strip() or ended.stderr.strip()[-300:]}", flush=True
                )
            except subprocess.TimeoutExpired:
                print(f"{name:34} more than {PATIENCE_SECONDS} s", flush=True)


def row(name: str) -> None:
    """Do what a row is about, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        llm_audit.configure(
            mongo_url="mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200",
            spool_dir=Path(folder),
            exit_timeout_seconds=0,
        )
        OPEN.append(start(messages=["warm"]))
        LLMLogger.complete(start(), response_message={"role": "assistant", "content": "warm"})
        work = ROWS[name]()
        before, began = _memory_mib(), time.thread_time()
        work()
        took = time.thread_time() - began
        print(json.dumps({"seconds": round(took, 2), "more_mib": _memory_mib() - before}))
        llm_audit.shutdown(0)


def search() -> None:
    """Print how long MongoDB searches one call, for calls of more and more small parts."""
    with embedded.mongod() as server, MongoClient[dict[str, Any]](server.url) as client:
        calls = client["hostile"]["llm_calls"]
        before = 0.0
        for parts in (50_000, 100_000, 200_000, 400_000):
            calls.delete_many({})
            made = {"_id": str(uuid7()), "messages": [[[1]]] * parts}
            calls.insert_one(made)
            took = min(
                _seconds(lambda: list(calls.aggregate(pipelines.search("x")))) for _ in "123"
            )
            grown = f"{took / before:.1f} x" if before else ""
            print(f"{parts:>9,} parts {took:6.2f} s  {grown}")
            before = took


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _memory_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MIB


if __name__ == "__main__":
    if sys.argv[1:2] == ["--row"]:
        row(sys.argv[2])
    elif sys.argv[1:] == ["--search"]:
        search()
    else:
        main(sys.argv[1:])
