"""What processes were promised, and what became of it in MongoDB."""

import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, NamedTuple

from faults.recording import Work, outcome, record, text
from waiting import PATIENCE, Call, Calls, until

from llm_audit.diagnosis.counts import compare
from llm_audit.diagnosis.processes import examine_processes
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

ENDED_FOR_IT = {"ABANDONED", "INCOMPLETE"}
EXAMPLES = 5
SHOWN = (
    *("metadata", "status", "messages", "response_message", "error_message"),
    "encoding_notes",
)

# Processes are forked from one that has imported everything and recorded nothing: 20 ms each.
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    [
        "llm_audit.logger",
        "llm_audit.lifecycle",
        "llm_audit.prices.price_list",
        "genai_prices",
        "pymongo",
    ]
)
# Processes that are started anew end as scripts do, with the end of the interpreter.
_SPAWN = multiprocessing.get_context("spawn")
_Context = ForkServerContext | SpawnContext
_children = itertools.count()


class Promise(NamedTuple):
    """What a process was told last about one of its calls."""

    call_id: str
    status: str


class Child:
    """A process that records, and what it has said so far."""

    def __init__(
        self, work: Work, target: Callable[[Work, Connection], None], context: _Context
    ) -> None:
        self.number = work.child
        self.promises: dict[int, Promise] = {}
        self.acknowledged: list[tuple[float, int]] = []
        self.log: list[str] = []
        self.raised: list[str] = []
        self.said: list[str] = []
        self.stats: dict[str, Any] = {}
        receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=target, args=(work, sender), daemon=True)
        self._process.start()
        self.pid: int = self._process.pid  # type: ignore[assignment]  # it has been started
        sender.close()
        self._listener = threading.Thread(target=self._listen, args=(receiver,), daemon=True)
        self._listener.start()

    @property
    def exit_code(self) -> int | None:
        """What the process ended with; minus the signal that killed it."""
        return self._process.exitcode

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.is_alive()

    def wait_for_promises(self, count: int) -> None:
        """Wait until this many more calls have been promised than now."""
        goal = len(self.promises) + count
        until(lambda: len(self.promises) >= goal or not self.alive)
        assert len(self.promises) >= goal, (self.raised, self.log)

    def kill(self) -> None:
        """Kill the process with SIGKILL, if it has not ended, and hear what it said last."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """Let the process end in peace, delivering what it has recorded."""
        os.kill(self.pid, signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait until the process has ended, and hear what it said last."""
        self._process.join(PATIENCE)
        assert not self.alive, "a process did not end: it hangs"
        self._listener.join(PATIENCE)

    def _listen(self, receiver: Connection) -> None:
        with receiver, os.fdopen(os.dup(receiver.fileno()), "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else the kill has cut it short, and it was not said
                    self._hear(*line.decode().rstrip().split(" ", 1))

    def _hear(self, kind: str, said: str) -> None:
        if kind == "promised":
            number, call_id, status = said.split()
            self.promises[int(number)] = Promise(call_id, status)
        elif kind == "acknowledged":
            seconds, operations = said.split()
            self.acknowledged.append((float(seconds), int(operations)))
        elif kind == "stats":
            self.stats = json.loads(said)
        else:
            {"log": self.log, "raised": self.raised, "said": self.said}[kind].append(said)


@contextmanager
def child(
    settings: Settings,
    *,
    target: Callable[[Work, Connection], None] = record,
    anew: bool = False,
    **work: Any,
) -> Iterator[Child]:
    """Run a process that records until the block is left, which kills it if it still lives.

    Args:
        settings: In force in it.
        target: What runs in it.
        anew: Start an interpreter for it, which comes to its usual end, instead of a fork of one.
        **work: See `Work`.

    Yields:
        The process.
    """
    running = Child(
        Work(dict(settings), next(_children), **work), target, _SPAWN if anew else _FORKSERVER
    )
    try:
        yield running
    finally:
        running.kill()


@dataclass
class Verdict:
    """What became of the calls that were promised.

    Attributes:
        recorded: How many there are.
        lost: Those that are not there, or without what they asked.
        doubled: Those that are there twice.
        wrong_status: Those that have not the status last promised, or the wrong content.
        pending: Those, also counted as of wrong status, that nobody has ended.
        without_content: Those that say themselves that their content was dropped.
        examples: What the first few of these look like.
    """

    recorded: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_status: int = 0
    pending: int = 0
    without_content: int = 0
    examples: list[str] = field(default_factory=list)

    def _wrong(self, what: str, example: object) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {example}")


def judge(calls: Calls, children: Iterable[Child]) -> Verdict:
    """Compare what was promised with what is in MongoDB, one call after the other."""
    verdict = Verdict()
    promised: dict[str, tuple[int, int, str]] = {}
    for process in children:
        assert process.raised == [], process.raised
        for number, promise in process.promises.items():
            promised[promise.call_id] = (process.number, number, promise.status)
    verdict.recorded = len(promised)
    times = Counter[tuple[int, int]]()
    for call in calls.find({}, dict.fromkeys(SHOWN, 1)):
        promise = promised.pop(call["_id"], None)
        if "metadata" in call:
            times[call["metadata"]["child"], call["metadata"]["number"]] += 1
        _judge_one(verdict, call, promise)
    for missing in promised.items():
        verdict._wrong("lost", missing)
    for key, count in times.items():
        if count > 1:
            verdict._wrong("doubled", key)
    _expect_no_alarm(calls)
    return verdict


def _expect_no_alarm(calls: Calls) -> None:
    """See that the doctor does not take for removed or put there what only had a hard time."""
    processes = calls.database[PROCESSES]
    counts = compare(examine_processes(processes, calls.name), calls, processes)
    assert counts is None or not (counts.missing or counts.invented), counts


def _judge_one(verdict: Verdict, call: Call, promised: tuple[int, int, str] | None) -> None:
    if call["status"] == "PENDING":
        verdict._wrong("wrong_status", call)
        verdict.pending += 1
    elif promised is None:
        return  # the kill came before its promise was said
    elif _says_it_lacks_content(call):
        verdict.without_content += 1
    elif "messages" not in call:
        verdict._wrong("lost", call)
    elif not _as_promised(call, *promised):
        verdict._wrong("wrong_status", (promised, call))


def _says_it_lacks_content(call: Call) -> bool:
    return any("dropped: " in note for note in call.get("encoding_notes", ()))


def _as_promised(call: Call, child: int, number: int, promised: str) -> bool:
    """Tell whether a call has the content and the status that it must have."""
    content = text(child, number)
    if call["messages"] != [{"role": "user", "content": content}]:
        return False
    intended = outcome(number)
    may_be = {promised} if promised != "PENDING" else {intended, *ENDED_FOR_IT}
    if call["status"] not in may_be:
        return False
    answers = {"SUCCESS": ("response_message", {"role": "assistant", "content": content})}
    answers["ERROR"] = ("error_message", content)
    name, answer = answers.get(call["status"], ("response_message", None))
    return bool(call.get(name) == answer)
