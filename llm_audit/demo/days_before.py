"""What the demo's app might have done in the days before: made up, so that charts have a past.

It is for the viewer, and tagged `made-up`. It goes through the journal, as calls do that are
brought in from elsewhere. Everything is drawn by lot, the same in every run.
"""

import random
import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from llm_audit import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.ids import call_id_of
from llm_audit.recorder.process import recorder

TAG = "made-up"
RUNS = 240
COMPANIES = {"maya": "gorgias", "tomas": "gorgias", "ines": "northwind", "raj": "acme"}  # by user
TOPICS = ("reports", "pricing", "macros", "the voice channel", "setup", "support")
USD_PER_MILLION_TOKENS = {"gpt-4o": (2.5, 10), "gpt-4o-mini": (0.15, 0.6), "claude-sonnet": (3, 15)}
PROVIDERS = {"claude-sonnet": "anthropic"}
OUTAGE_HOURS = (6.0, 7.0)  # before now, in which gpt-4o fails
TASKS = "llm_audit.demo.tasks."


class Step(NamedTuple):
    """A call of a run: what it is for, whom it asks, how long that takes and how much it is."""

    call_type: LLMCallTypeEnum
    model: str
    seconds: float  # the median
    tokens_in: int
    tokens_out: int
    asked: str
    answered: str
    tool: str | None = None


CLASSIFY = Step(
    *(LLMCallTypeEnum.RAG_QUERY, "gpt-4o-mini", 0.4, 220, 6),
    *("Classify this question: what do customers say about {}?", "product_gap"),
)
LOOK_UP = Step(
    *(LLMCallTypeEnum.CHAT, "gpt-4o", 0.9, 700, 40),
    *("Who else has {}?", "", "get_competitor_data"),
)
SEARCH = LOOK_UP._replace(asked="What do customers say about {}?", tool="search_reviews")
ANSWER = Step(
    *(LLMCallTypeEnum.RAG_SYNTHESIS, "gpt-4o", 2.3, 2_400, 260),
    "What do customers say about {}?",
    "Three of twelve reviews name {}; for two of them it is why they look elsewhere.",
)
SENTIMENT = Step(
    *(LLMCallTypeEnum.SENTIMENT_ANALYSIS, "gpt-4o-mini", 0.35, 160, 3),
    *("We have waited long for {}.", "negative"),
)
SUMMARY = Step(
    *(LLMCallTypeEnum.SUMMARIZATION, "claude-sonnet", 5.2, 6_500, 700),
    *("Summarize what customers say about {}:", "Most of them like {}; some find it slow."),
)
# How often, in which task if in any, and which calls.
KINDS: tuple[tuple[int, str | None, tuple[Step, ...]], ...] = (
    (5, None, (CLASSIFY, ANSWER)),
    (2, None, (CLASSIFY, SEARCH, ANSWER)),
    (4, "analyze_review_sentiment", (SENTIMENT,)),
    (2, "write_report", (LOOK_UP, SUMMARY)),
)
FAILURES: dict[str, dict[str, Any]] = {
    "down": {
        "status": LLMCallStatusEnum.ERROR,
        "error_type": "InternalServerError",
        "error_message": "The server had an error while processing your request.",
        "ended_by": "response",
        "http_status": 503,
    },
    "late": {
        "status": LLMCallStatusEnum.TIMEOUT,
        "error_type": "APITimeoutError",
        "error_message": "Request timed out.",
        "ended_by": "exception",
    },
}


def record_the_days_before(now: datetime) -> None:
    """Record what was done in about two days, most of it by day.

    Args:
        now: When they end.
    """
    lot = random.Random(7)  # noqa: S311  (the same in every run)
    for number in range(RUNS):
        hours = abs(lot.gauss(8, 4)) + 24 * (number % 2)
        _record_run(lot, now, now - timedelta(hours=hours + 0.1))


def _record_run(lot: random.Random, now: datetime, at: datetime) -> None:
    """Record the calls of a trace; a task in which one fails does all of it once more."""
    _, task, steps = lot.choices(KINDS, [kind[0] for kind in KINDS])[0]
    user, topic, run = lot.choice([*COMPANIES]), lot.choice(TOPICS), _uuid(lot)
    said: dict[str, Any] = {"trace_id": run, "user_id": user, "company_id": COMPANIES[user]}
    if task is None:
        said["session_id"] = f"{user} about {topic}, {at:%A}"
    for retries in range(2):
        if task is not None:
            said |= {"task_id": run, "task": _task(lot, task, run, retries)}
        for step in steps:
            seconds = step.seconds * lot.lognormvariate(0, 0.45)
            is_down = timedelta(hours=OUTAGE_HOURS[0]) < now - at < timedelta(hours=OUTAGE_HOURS[1])
            failure = "down" if is_down and step.model == "gpt-4o" else None
            if failure is None and lot.random() < 0.01:  # noqa: PLR2004
                failure, seconds = "late", 15.0
            ended = at + timedelta(seconds=seconds)
            outcome = FAILURES[failure] if failure else _answered(lot, step, topic)
            _record(at, {**_asked(step, topic), **said, **outcome, "completed_at": ended})
            at = ended + timedelta(milliseconds=lot.uniform(5, 300))
            if failure:
                break
        else:
            return
        at += timedelta(minutes=lot.uniform(5, 40))
        if task is None or at > now - timedelta(minutes=5):
            return


def _record(at: datetime, fields: dict[str, Any]) -> None:
    latency_ms = (fields["completed_at"] - at).total_seconds() * 1_000
    call_id = call_id_of(int(at.timestamp() * 1_000))
    recorder().calls.bring_in(call_id, {**fields, "latency_ms": latency_ms, "tags": [TAG]})


def _asked(step: Step, topic: str) -> dict[str, Any]:
    return {
        "call_type": step.call_type,
        "provider": PROVIDERS.get(step.model, "openai"),
        "model": step.model,
        "messages": [{"role": "user", "content": step.asked.format(topic)}],
    }


def _answered(lot: random.Random, step: Step, topic: str) -> dict[str, Any]:
    sent = round(step.tokens_in * lot.uniform(0.6, 1.5))
    received = round(step.tokens_out * lot.uniform(0.6, 1.5))
    message: dict[str, Any] = {"role": "assistant", "content": step.answered.format(topic) or None}
    if step.tool:
        function = {"name": step.tool, "arguments": '{"company_name": "Gorgias"}'}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    usd_in, usd_out = USD_PER_MILLION_TOKENS[step.model]
    return {
        "status": LLMCallStatusEnum.SUCCESS,
        "response_message": message,
        "tools_called": [step.tool] if step.tool else [],
        "finish_reason": "tool_calls" if step.tool else "stop",
        "usage": {"prompt_tokens": sent, "completion_tokens": received},
        "prompt_tokens": sent,
        "cached_tokens": sent // 3 if step is SUMMARY else None,
        "completion_tokens": received,
        "total_tokens": sent + received,
        "estimated_cost": (sent * usd_in + received * usd_out) / 1_000_000,
        "cost_source": "caller",
    }


def _task(lot: random.Random, name: str, task_id: str, retries: int) -> dict[str, Any]:
    return {
        "name": TASKS + name,
        "root_id": task_id,
        "retries": retries,
        "attempt_id": _uuid(lot),
        "queue": "reports" if name == "write_report" else "celery",
        "worker": lot.choice(("worker@a", "worker@b")),
    }


def _uuid(lot: random.Random) -> str:
    return str(uuid.UUID(int=lot.getrandbits(128), version=4))
