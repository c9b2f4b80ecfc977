"""What a company recorded in some months: as many calls as are asked for, the same in every run.

Bodies (messages, tools, answers) are those of recorded provider traffic, where it lies beside the
project (see tests/recorded_traffic.py), and else the call in `sample.py`; they went through
`LLMLogger` once, so they have the shape of stored documents. Who called, when, in which trace, with
which model, and how it ended is made up: 50,000 traces and 5,000 sessions in a million calls, 40
models, 200 tools, 3 % failures. The newest trace is one of 5,000 calls.
"""

import itertools
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pymongo
from bson.raw_bson import RawBSONDocument

import llm_audit
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit import LLMCallTypeEnum, LLMLogger

CALLS_PER_TRACE = 20
TRACES_PER_SESSION = 10
CALLS_OF_THE_LARGEST_TRACE = 5_000
DAYS = 90
LARGEST_BODY_BYTES = 32_768  # beyond it, media move to GridFS anyway
BODIES = frozenset(
    {
        *("system_prompt", "messages", "input", "tools", "tool_choice", "request_params"),
        *("response_message", "other_choices"),
    }
)

MODELS = [f"model-{n}" for n in range(40)]
PROVIDERS = ["openai", "anthropic", "google", "bedrock", "openrouter"]
TOOLS = [f"tool_{n}" for n in range(200)]
TAGS = [f"tag-{n}" for n in range(30)]
USERS = [f"user-{n}" for n in range(2_000)]
COMPANIES = [f"company-{n}" for n in range(50)]
TASKS = [f"app.tasks.task_{n}" for n in range(20)]
STATUSES = {"SUCCESS": 960, "ERROR": 18, "TIMEOUT": 9, "ABANDONED": 3, "CANCELLED": 4}
STATUSES |= {"INCOMPLETE": 6}
ERRORS = ["RateLimitError", "APIConnectionError", "BadRequestError", "ValidationError"]


@dataclass(frozen=True)
class _Moment:
    """One call to be made up: when, and in which trace."""

    at_ms: int
    trace: int


def history(
    count: int, now: datetime, bodies: Sequence[dict[str, Any]]
) -> Iterator[RawBSONDocument]:
    """Yield documents as the shipper inserts them, oldest first.

    Args:
        count: How many.
        now: When the newest was made; the oldest is 90 days older.
        bodies: From `recorded_bodies`.
    """
    lot = random.Random(count)  # noqa: S311  (the same calls in every run)
    encoded = [(bson.encode(body)[4:-1], body) for body in bodies]
    previous: dict[int, str] = {}  # the last call of each trace
    for moment in _moments(count, now, lot):
        raw, body = lot.choice(encoded)
        call = _made_up(moment, body, previous.get(moment.trace), lot)
        previous[moment.trace] = call["_id"]
        fields = bson.encode(call)[4:-1]
        size = 4 + len(fields) + len(raw) + 1
        yield RawBSONDocument(size.to_bytes(4, "little") + fields + raw + b"\0")


def recorded_bodies(url: str) -> list[dict[str, Any]]:
    """Return what calls said, as `LLMLogger` stores it, without the very large.

    Args:
        url: Of a mongod to record into.
    """
    with tempfile.TemporaryDirectory() as spool, pymongo.MongoClient(url) as client:
        llm_audit.configure(mongo_url=url, database="bench_bodies", spool_dir=spool)
        _record()
        if not llm_audit.shutdown(timeout_seconds=120):
            raise RuntimeError("not everything arrived")
        stored = client["bench_bodies"]["llm_calls"].find({}, {*BODIES, "tools_called"})
        found = [{name: call[name] for name in call if name != "_id"} for call in stored]
        client.drop_database("bench_bodies")
    return [body for body in found if len(bson.encode(body)) <= LARGEST_BODY_BYTES]


def described(bodies: Sequence[dict[str, Any]]) -> str:
    """Say how many bodies there are, and how large."""
    sizes = sorted(len(bson.encode(body)) for body in bodies)
    mean, median = statistics.mean(sizes), statistics.median(sizes)
    return (
        f"{len(sizes)} bodies, mean {mean:,.0f} bytes, median {median:,.0f}, largest {sizes[-1]:,}"
    )


def _record() -> None:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from recorded_traffic import TRAFFIC, recorded_calls, split  # type: ignore[import-not-found]

    if not TRAFFIC.is_dir():
        print(f"no recorded traffic in {TRAFFIC}: every call is the one in benchmarks/sample.py")
        LLMLogger.complete(
            LLMLogger.start(call_type="CHAT", **REQUEST), response_message=ANSWER, tokens=USAGE
        )
        return
    for recorded in recorded_calls():
        start, others = split(recorded)
        call_id = LLMLogger.start(call_type="CHAT", **start, **others)
        if isinstance(recorded["response"], dict):
            LLMLogger.complete(call_id, response=recorded["response"])
        else:
            answer = {"role": "assistant", "content": recorded["sse"]}
            LLMLogger.complete(call_id, response_message=answer)


def _moments(count: int, now: datetime, lot: random.Random) -> list[_Moment]:
    """Return when each call was made: traces are short, and begin at all times."""
    end = round(now.timestamp() * 1000)
    span = timedelta(days=DAYS) // timedelta(milliseconds=1)
    largest = min(CALLS_OF_THE_LARGEST_TRACE, count // 10)
    moments = [_Moment(end - lot.randrange(3_600_000), 0) for _ in range(largest)]
    for trace in itertools.count(1):
        began = end - lot.randrange(span)
        for _ in range(lot.randint(1, 2 * CALLS_PER_TRACE - 1)):
            moments.append(_Moment(min(began, end), trace))
            began += round(lot.expovariate(1 / 8_000))
            if len(moments) == count:
                return sorted(moments, key=lambda moment: moment.at_ms)
    raise AssertionError


def _made_up(
    moment: _Moment, body: dict[str, Any], parent: str | None, lot: random.Random
) -> dict[str, Any]:
    """Return everything of a document but its body."""
    session = moment.trace // TRACES_PER_SESSION
    user, model = session * 7 % len(USERS), _skewed(MODELS, lot)
    status = lot.choices([*STATUSES], [*STATUSES.values()])[0]
    created = datetime.fromtimestamp(moment.at_ms / 1000, UTC)
    call: dict[str, Any] = {
        "_id": _call_id(moment.at_ms, lot),
        "status": status,
        "schema_version": 1,
        "call_type": lot.choice([*LLMCallTypeEnum]).value,
        "provider": PROVIDERS[MODELS.index(model) % len(PROVIDERS)],
        "model": model,
        "temperature": 0.7,
        "max_tokens": 500,
        "trace_id": f"{moment.trace:032x}",
        "session_id": f"session-{session:08}",
        "user_id": USERS[user],
        "company_id": COMPANIES[user % len(COMPANIES)],
        "tags": lot.sample(TAGS, lot.choice([0, 1, 1, 2])),
        "metadata": {"experiment": lot.randrange(10)},
        "environment": "production" if lot.random() < 0.9 else "staging",  # noqa: PLR2004
        "service": f"service-{session % 5}",
        "host": f"host-{lot.randrange(20)}",
        "pid": lot.randrange(30_000),
        "process_nonce": f"{lot.randrange(500):032x}",
        "created_at": created,
        "expires_at": created + timedelta(days=365),
    }
    if parent is not None and lot.random() < 0.5:  # noqa: PLR2004
        call["parent_call_id"] = parent
    if lot.random() < 0.6:  # noqa: PLR2004
        call |= _task(moment, lot)
    return call | _outcome(call, body, lot)


def _task(moment: _Moment, lot: random.Random) -> dict[str, Any]:
    number = moment.trace % 4
    place = lot.randrange(4)
    task_id = f"{moment.trace:024x}-task-{place}"
    retries = lot.choice([0] * 30 + [1])
    return {
        "task_id": task_id,
        "task": {
            "name": TASKS[(moment.trace + number) % len(TASKS)],
            "root_id": f"{moment.trace:024x}-task-0",
            **({"parent_id": f"{moment.trace:024x}-task-0"} if place else {}),
            **({"group_id": f"{moment.trace:024x}-group"} if number == 0 else {}),
            "retries": retries,
            "attempt_id": f"{task_id}-{retries}",
            "queue": "celery",
            "worker": f"celery@host-{moment.trace % 20}",
            "pid": lot.randrange(30_000),
            "redelivered": False,
            "eager": False,
        },
    }


def _outcome(call: dict[str, Any], body: dict[str, Any], lot: random.Random) -> dict[str, Any]:
    prompt, completion = round(lot.lognormvariate(7, 1)), round(lot.lognormvariate(5, 1))
    latency = lot.lognormvariate(7.3, 0.8)
    outcome: dict[str, Any] = {
        "outcome_key": 5 << 58,
        "latency_ms": round(latency, 3),
        "completed_at": call["created_at"] + timedelta(milliseconds=latency),
    }
    if call["status"] != "SUCCESS":
        return outcome | {
            "error_type": _skewed(ERRORS, lot),
            "error_message": "The provider said no. " * lot.randint(1, 20),
            "ended_by": "exception",
        }
    asked = [_skewed(TOOLS, lot) for _ in body.get("tools_called") or ()]
    return outcome | {
        "finish_reason": "stop",
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **({"tools_called": asked} if asked else {}),
        **(
            {"estimated_cost": (prompt + 4 * completion) * 1e-6, "cost_source": "genai-prices"}
            if lot.random() < 0.95  # noqa: PLR2004
            else {}
        ),
    }


def _call_id(at_ms: int, lot: random.Random) -> str:
    value = (
        f"{at_ms << 80 | 7 << 76 | lot.getrandbits(12) << 64 | 2 << 62 | lot.getrandbits(62):032x}"
    )
    return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"


def _skewed(values: Sequence[str], lot: random.Random) -> str:
    """Return one of them, the first ones more often."""
    return values[int(len(values) * lot.random() ** 2)]
