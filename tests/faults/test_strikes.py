"""What strikes between any two instructions of ours comes out, calls end, and recording goes on.

A tracer raises it before the n-th instruction that our code executes, for every n, also where
Python itself would not look for signals.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
from billiard.exceptions import SoftTimeLimitExceeded
from dramatiq.middleware import Shutdown, TimeLimitExceeded
from faults.promises import Verdict
from faults.table import Report
from huey.exceptions import TaskTimeout
from patience import LONG
from rq.timeouts import JobTimeoutException

import llm_audit
from llm_audit import LLMLogger, audit_context, audited, exchange
from llm_audit.context import NOWHERE, current_context
from llm_audit.given.sent import ROW_OF
from llm_audit.journal.losses import Losses
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.records import ENDED, OWN, START
from llm_audit.journal.segments.found import find_segments
from llm_audit.recorder import process
from llm_audit.recorder.process import open_calls, recorder
from llm_audit.runtime.forks import Here
from llm_audit.settings import changed_settings
from llm_audit.testing.records import RecordedCalls, recorded_nowhere
from llm_audit.wire.apis import Asked

OURS = str(Path(llm_audit.__file__).parent)
NOT_STRUCK = ("__del__", "cut_short")  # what strikes in a destructor is printed, never raised
KINDS: list[type[BaseException]] = [
    *(TimeoutError, JobTimeoutException, KeyboardInterrupt, TaskTimeout, SystemExit),
    *(TimeLimitExceeded, SoftTimeLimitExceeded, gevent.Timeout, gevent.GreenletExit, Shutdown),
]
MESSAGES = [{"role": "user", "content": "QUJD" * 500}]  # as base64 media is
ANSWER = {"role": "assistant", "content": "hi"}
CHAT = Asked((ROW_OF["openai.chat"],))
TOKENS = {"prompt_tokens": 1, "completion_tokens": 2}


around = audit_context(user_id="u", tags=["x"])


def split(text: str) -> list[str]:
    """Return words."""
    return text.split()


def words(text: str) -> Generator[str]:
    """Yield words."""
    yield from text.split()


tool, stream = audited(split), audited(words)


class Strikes:
    """Strikes once: before the n-th instruction of ours."""

    def __init__(self, point: int, kind: type[BaseException]) -> None:
        self.where = ""
        self._left = point
        self._kind = kind

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """Take part in what our code does; the rest is nobody's business."""
        code = frame.f_code
        is_ours = code.co_filename.startswith(OURS) and "/testing/" not in code.co_filename
        if not is_ours or code.co_name in NOT_STRUCK or is_of_a_destructor(frame):
            return None
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self._left -= 1
            if self._left < 0 and not self.where:
                self.where = f"{code.co_qualname}:{frame.f_lineno} @{frame.f_lasti}"
                sys.settrace(None)
                raise self._kind
        return self.trace

    def comes_out_of(self, work: Callable[[], object]) -> bool:
        """Do the work; tell whether what struck came out of it."""
        try:
            sys.settrace(self.trace)
            work()
        except self._kind:
            return True
        finally:
            sys.settrace(None)
        return False


def is_of_a_destructor(frame: FrameType) -> bool:
    """Tell whether a destructor has called it, as the garbage collector has that."""
    caller = frame.f_back
    while caller is not None and caller.f_code.co_filename.startswith(OURS):
        if caller.f_code.co_name == "__del__":
            return True
        caller = caller.f_back
    return False


class Works:
    """What a user does, and does next where a limit strikes."""

    def __init__(self) -> None:
        self.call_id = ""

    def start(self) -> None:
        """Begin a call; if that is cut short, nobody knows of it."""
        LLMLogger.start(model="m", messages=MESSAGES)

    def complete(self) -> None:
        """End a call, and leave what is left of it to the end of the task."""
        LLMLogger.complete(self.call_id, response_message=ANSWER, tokens=TOKENS)

    def complete_or_fail(self) -> None:
        """End a call, or else say that it failed."""
        try:
            LLMLogger.complete(self.call_id, response_message=ANSWER)
        except BaseException as error:
            sys.settrace(None)
            LLMLogger.fail(self.call_id, error)
            raise

    def fail(self) -> None:
        """Say that a call failed."""
        LLMLogger.fail(self.call_id, ValueError("no"))

    def score(self) -> None:
        """Judge it."""
        LLMLogger.score(self.call_id, "helpful", 1.0)

    def annotate(self) -> None:
        """Label it."""
        LLMLogger.annotate(self.call_id, metadata={"a": 1}, tags=["x"])

    def log_call(self) -> None:
        """Record a call around a block."""
        with LLMLogger.log_call(model="m", messages=MESSAGES) as call_id:
            LLMLogger.complete(call_id, response_message=ANSWER)

    def log_call_left(self) -> None:
        """Leave the block without a word."""
        with LLMLogger.log_call(model="m", messages=MESSAGES):
            pass

    def seen(self, messages: Any = MESSAGES) -> None:
        """Record what is seen on the wire."""
        body = json.dumps({"model": "m", "messages": messages}).encode()
        answer = json.dumps({"choices": [{"message": ANSWER}]}).encode()
        sent = exchange.Sent("httpx", CHAT, "https://host/v1/chat/completions", body)
        call_id = exchange.begin(sent)
        exchange.end(call_id, exchange.Received(CHAT, answer, 200), time.monotonic_ns())

    def seen_and_read(self) -> None:
        """Record what has to be read before it is stored."""
        self.seen([{"role": "user", "content": "sk-proj-abcdefgh12345678"}])

    def context(self) -> None:
        """Enter and leave a context."""
        with audit_context(user_id="u", tags=["x"], metadata={"a": 1}):
            pass

    def decorated(self) -> None:
        """Call a function, and read a generator, that have a context of their own."""
        around(len)(list(around(words)("a b")))

    def audited(self) -> None:
        """Call a function that is recorded."""
        tool("a b")

    def audited_stream(self) -> None:
        """Read a generator that is recorded, and leave another."""
        list(stream("a b"))
        with closing(stream("a b")) as left:
            next(left)

    def end_open_calls(self) -> None:
        """End what is open, as a task does."""
        LLMLogger.end_open_calls(None, ended_by="task_ended")

    def first(self) -> None:
        """Begin the first call of a process."""
        LLMLogger.start(model="m", messages=MESSAGES)


def held() -> list[str]:
    """Name the locks that this thread holds."""
    locks: dict[str, Any] = {f"own {number}": lock for number, lock in enumerate(Here.locks)}
    locks["calls"] = open_calls()._lock
    if running := process.running():
        journal = running.journal
        locks |= {"journal": journal._lock, "saving": journal._saving}
        locks |= {"losses": journal.losses.lock}
    return [name for name, lock in locks.items() if lock._is_owned()]


def strike_everywhere(
    calls: RecordedCalls, name: str, kind: type[BaseException], step: int
) -> tuple[int, Verdict]:
    """Strike at every so many points of a work; return at how many, and what is left of it."""
    works, promised = Works(), []
    first = KINDS.index(kind) % step
    for point in count(first, step):
        open_calls().clear()  # or there would be more to do each time
        if name == "first":
            llm_audit.shutdown(0)
        else:
            works.call_id = LLMLogger.start(model="m", messages=MESSAGES)
            promised.append(works.call_id)
        strikes = Strikes(point, kind)
        came_out = strikes.comes_out_of(getattr(works, name))
        LLMLogger.end_open_calls(None, ended_by="task_ended")
        if not strikes.where:
            return (point - first) // step, verdict(calls, promised)
        assert came_out, strikes.where
        assert not held(), strikes.where
        assert current_context() is NOWHERE, strikes.where
        promised.append(LLMLogger.start(model="after"))
        LLMLogger.complete(promised[-1], response_message=ANSWER)
    raise AssertionError


def verdict(calls: RecordedCalls, promised: list[str]) -> Verdict:
    """Compare with what was promised; see that all numbers are there, so that a flush would end."""
    journal, stats = recorder().journal, recorder().stats()
    assert (stats["dropped"], stats["not_journaled"], journal.disk_refuses) == ([], 0, False)
    found = {call.id: call for call in calls}
    ends: Counter[tuple[str, str]] = Counter()
    for folder in calls.folders:
        reader = JournalReader(
            find_segments(folder), pending_after_seconds=0, batch_size=500, losses=Losses()
        )
        for segment in filter(lambda segment: segment.end, find_segments(folder)):
            ends.update((record.id, record.op) for record in segment.read_on(2**30))
        while reader.next_batch(everything=True) is not None:
            reader.acknowledge()
        assert reader.gaps.count == 0
        assert reader.acknowledged_through == reader.last_read_seq
        if folder == recorder().path:
            assert reader.last_read_seq == journal.last_seq == stats["recorded"]
    wrong = [call for call in found.values() if call.status == "PENDING" or not call.model]
    return Verdict(
        recorded=len(found),
        lost=len({*promised} - found.keys()),
        doubled=sum(times > 1 for (_, op), times in ends.items() if op in {START, OWN, ENDED}),
        wrong_status=len(wrong),
        examples=[repr(call) for call in wrong[:3]],
    )


LONG_STEP = 5  # in a long run one kind strikes at every instruction, the others at every so many

# what is done, and every which instruction of it is struck in a short run
WORKS = {
    "complete": 11,
    "complete_or_fail": 59,
    "log_call": 59,
    "seen": 59,
    "seen_and_read": 401,
    "context": 11,
    "decorated": 59,
    "audited": 97,
    "audited_stream": 211,
    "start": 37,
    "fail": 401,
    "log_call_left": 37,
    "end_open_calls": 11,
    "score": 19,
    "annotate": 23,
    "first": 101,
}


class Total:
    """What became of all calls, whatever was struck."""

    def __init__(self) -> None:
        self.times = 0
        self.verdict = Verdict()

    def add(self, times: int, judged: Verdict) -> None:
        """Count one more of them."""
        assert times, "nothing was struck"
        assert (judged.lost, judged.doubled, judged.wrong_status) == (0, 0, 0), judged
        self.times += times
        self.verdict.recorded += judged.recorded


def test_an_exception_between_any_two_instructions(tmp_path: Path, report: Report) -> None:
    """Whatever strikes comes out; every call ends once, and nothing stays held or is left out."""
    total = Total()
    for number, (name, step) in enumerate(WORKS.items()):
        for kind in KINDS if LONG else [KINDS[number % len(KINDS)]]:
            every = (1 if kind is KINDS[0] else LONG_STEP) if LONG else step
            with recorded_nowhere(tmp_path / f"{name}-{kind.__name__}") as calls:
                LLMLogger.fail(LLMLogger.start(model="m"), "whatever is loaded by the first call")
                total.add(*strike_everywhere(calls, name, kind, every))
    report("an exception between any two instructions of recording", total.times, total.verdict)


def test_the_same_in_other_surroundings(tmp_path: Path, report: Report) -> None:
    """Where each record ends its file, where a rule redacts, and where content lies beside it."""
    surroundings: list[dict[str, Any]] = [
        {"segment_max_bytes": 1},
        {"redact": lambda fields: fields},
        {"media_limit_bytes": 1_000},
    ]
    total = Total()
    for number, settings in enumerate(surroundings):
        for name in ("complete", "start"):
            folder = tmp_path / f"{name}-{number}"
            with recorded_nowhere(folder) as calls, changed_settings(**settings):
                LLMLogger.fail(LLMLogger.start(model="m"), "whatever is loaded by the first call")
                step = 1 if LONG else 97
                total.add(*strike_everywhere(calls, name, KINDS[number], step))
    report("the same, redacted, with media, or at a file's end", total.times, total.verdict)
