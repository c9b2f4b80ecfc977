"""What a call costs the thread that makes it, one after the other, under different settings.

    python -m benchmarks.calling_thread

MongoDB is out of reach, so nothing is shipped meanwhile: this is the work of the library alone, of
which `benchmarks.recording` shows what becomes of it between other work. Each figure is processor
time, the least of many rounds, in which the settings take turns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import llm_audit
from benchmarks.figures import Aim, Table, aims, publish
from benchmarks.recorders import record_with_llm_audit
from llm_audit import audit_context
from llm_audit.context import CallContext, Stay

NOWHERE = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=60000"
CALLS = 30  # at a time
TIMES = 20  # in a round
DEFAULTS = "the defaults"
NO_SECRETS = "`redact_secrets=False`"
FUNCTION = "`redact=` a function that changes nothing"
IN_TASK = "in a Celery task"
ID = "0190f7a2-0000-7000-8000-000000000001"
TASK = {
    "id": ID,
    "name": "shop.tasks.answer",
    "attempt_id": f"{ID}/0",
    "root_id": ID,
    "queue": "celery",
    "retries": 0,
    "redelivered": False,
}


class _Way(NamedTuple):
    """Settings, and what is around the calls."""

    settings: Mapping[str, Any] = MappingProxyType({})
    around: Callable[[], AbstractContextManager[object]] = nullcontext


class _InTask:
    """As `celery_hooks` has it while a task runs."""

    def __enter__(self) -> None:
        self._stay = Stay(CallContext(trace_id=ID, task_id=ID, task=TASK))

    def __exit__(self, *_: object) -> None:
        self._stay.end()


WAYS = {
    DEFAULTS: _Way(),
    NO_SECRETS: _Way({"redact_secrets": False}),
    '`redact=["email", "card"]`': _Way({"redact": ["email", "card"]}),
    FUNCTION: _Way({"redact": lambda fields: fields}),
    "in an `audit_context`": _Way(
        around=partial(audit_context, session_id="s", tags=["outer"], metadata={"plan": "free"})
    ),
    IN_TASK: _Way(around=_InTask),
}


def spent(way: _Way) -> float:
    """Return the least time that a call takes, in microseconds of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        llm_audit.configure(
            **{"mongo_url": NOWHERE, "spool_dir": folder, "redact": None, "redact_secrets": True}
            | dict(way.settings)
        )
        with way.around():
            _record(CALLS * 10)
            least = min(_record(CALLS) for _ in range(TIMES))
        llm_audit.shutdown(timeout_seconds=0)
    return least


def _record(calls: int) -> float:
    began = time.thread_time_ns()
    for _ in range(calls):
        record_with_llm_audit()
    return (time.thread_time_ns() - began) / calls / 1_000


def main() -> None:
    """Measure, and publish what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    least = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for name, way in WAYS.items():
            least[name] = min(least[name], spent(way))
    usual = least[DEFAULTS]
    rows = [(name, f"{micros:.0f}", f"{micros / usual:.2f}") for name, micros in least.items()]
    titles = ("", "µs of the processor", "x the defaults")
    wanted = [
        Aim("start and complete, µs", usual, 62),
        Aim("of these for secrets, µs", usual - least[NO_SECRETS], 15),
        Aim("a function that changes nothing, x the defaults", least[FUNCTION] / usual, 1.3),
        Aim("what a task adds, µs", least[IN_TASK] - usual, 2),
    ]
    publish("calling_thread", [Table("settings", titles, rows), aims(*wanted)])


if __name__ == "__main__":
    main()
