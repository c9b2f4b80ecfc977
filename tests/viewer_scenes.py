"""Calls that fill every page of the viewer, in the shape in which the recorder stores them.

`ordinary` looks like a day of a small shop; `extreme` holds what strangers send.
"""

import base64
import random
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import gridfs
from bson import Binary
from made_up_calls import Call, call_id
from made_up_tasks import every_kind
from pymongo.database import Database

from llm_audit.encoding.moved import reference_to
from llm_audit.gate import shortened

TRACE = "01a0b7c2-review"
SESSION = "chat-4711"
RICH, LOST, RUNNING = (f"01a00000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))
USER, COMPANY = "user-7", "gorgias"
PICTURE = base64.b64decode(  # a pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE_SHA = sha256(PICTURE).hexdigest()
LONG_WORD = "Donaudampfschifffahrtsgesellschaft" * 12
HOSTILE = "</title><img src=x onerror=alert(1)>\u202e\u200b\U000e0041\"'&<script>alert(1)</script>"
STRANGE = (HOSTILE, LONG_WORD, "\n" * 300, "x" * 300_000, "🦜" * 5_000)
QUESTIONS = (
    "Where is my parcel? It should have been here on Monday.",
    "Summarize these 40 reviews in three sentences.",
    "Does the blue one come in size 42?",
    "Translate the return policy into French, please.",
    "Which of our competitors have free returns?",
)
ANSWERS = (
    "It left our warehouse this morning and will be with you tomorrow before noon.",
    "Customers like the price and the colours. Some miss a larger size. Delivery is praised.",
    "Yes, it does, and it is in stock.",
)


def fill(database: Database[Any], now: datetime) -> None:
    """Store the calls, of which the extreme ones are older, and what they have in GridFS."""
    gridfs.GridFSBucket(database).upload_from_stream_with_id(PICTURE_SHA, "", PICTURE)
    database["llm_calls"].insert_many([*ordinary(now), *extreme(now - timedelta(hours=30))])


def ordinary(now: datetime) -> list[Call]:
    """Return calls of the last twenty hours: of users, of tasks, of a trace and of a session."""
    lot = random.Random(15)
    calls = every_kind(now - timedelta(minutes=40))
    for number in range(130):
        calls.append(_plain(now - timedelta(minutes=3 + 9 * number), number, lot))
    return [*calls, *_trace(now - timedelta(minutes=8), lot), *_session(now, lot), *_known(now)]


def _plain(at: datetime, number: int, lot: random.Random) -> Call:
    took = round(lot.lognormvariate(7, 0.8), 1)
    failed = ("ERROR", "TIMEOUT", "CANCELLED", "INCOMPLETE")[number % 4]
    status = "SUCCESS" if number % 9 else failed
    call: Call = {
        "_id": call_id(at, lot),
        "created_at": at,
        "completed_at": at + timedelta(milliseconds=took),
        "status": status,
        "call_type": ("CHAT", "SUMMARIZATION", "EMBEDDING", "AGENT")[number % 4],
        "provider": ("openai", "anthropic")[number % 2],
        "model": ("gpt-4o", "claude-sonnet-4", "gpt-4o-mini")[number % 3],
        "user_id": f"user-{number % 12}",
        "company_id": (COMPANY, "acme", "initech")[number % 3],
        "service": ("shop", "reports")[number % 2],
        "environment": "production",
        "messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}],
        "latency_ms": took,
        "prompt_tokens": 40 * number,
        "cached_tokens": 10 * number,
        "tags": ["rag"] if number % 5 == 0 else [],
    }
    if status == "SUCCESS":
        content = ANSWERS[number % len(ANSWERS)]
        call |= {"response_message": {"role": "assistant", "content": content}}
        call |= {"completion_tokens": 90, "total_tokens": 40 * number + 90}
        if number % 7:
            call |= {"estimated_cost": round(lot.random() / 30, 6), "cost_source": "prices"}
    elif status != "CANCELLED":
        call |= {"error_type": "RateLimitError", "error_message": "Rate limit reached for gpt-4o"}
        call |= {"ended_by": "response", "http_status": 429}
    if number % 6 == 0:
        call |= {"tools_called": ["search_reviews", "price_of"][: 1 + number % 2]}
    if number % 36 == 0:
        call |= {"malformed_tool_calls": ["search_reviews"]}
    return call


def _trace(begun: datetime, lot: random.Random) -> list[Call]:
    """Return a trace four levels deep, with failures, tasks and a call that still runs."""
    calls: list[Call] = []

    def add(start: float, took: float | None, parent: Call | None, **more: Any) -> Call:
        at = begun + timedelta(seconds=start)
        call: Call = {
            "_id": call_id(at, lot),
            "created_at": at,
            "trace_id": TRACE,
            "status": "SUCCESS",
            "call_type": "AGENT" if parent is None else "CHAT",
            "provider": "openai",
            "model": "gpt-4o",
            "user_id": USER,
            "messages": [{"role": "user", "content": QUESTIONS[len(calls) % len(QUESTIONS)]}],
            "estimated_cost": 0.0123,
            "total_tokens": 1_234,
        }
        if took is None:
            call |= {"status": "PENDING"}
        else:
            call |= {"completed_at": at + timedelta(seconds=took), "latency_ms": took * 1_000}
        if parent is not None:
            call["parent_call_id"] = parent["_id"]
        calls.append(call | more)
        return calls[-1]

    root = add(0, 60, None)
    for number in range(12):
        task = {
            "name": "shop.tasks.read_reviews",
            "attempt_id": f"{TRACE} {number}",
            "retries": number % 2,
            "queue": "reviews",
            "worker": "celery@shop-1",
        }
        own = {"task_id": f"read {number // 2}", "task": task} if number < 6 else {}
        branch = add(1 + number * 4, 4.5, root, tools_called=["read"], **own)
        for step in range(3):
            leaf = add(1.2 + number * 4 + step, 0.8, branch, **own)
            if number % 4 == 1 and step == 2:
                leaf |= {"status": "ERROR", "error_type": "BadRequestError", "ended_by": "response"}
                leaf |= {"error_message": "context_length_exceeded"}
                add(1.5 + number * 4 + step, 0.3, leaf, status="TIMEOUT", ended_by="exception")
    calls[-1] |= {"_id": RUNNING}
    add(59, None, root)
    return calls


def _session(now: datetime, lot: random.Random) -> list[Call]:
    """Return a conversation in which each request repeats all that was said."""
    history: list[Call] = [{"role": "system", "content": "You help customers of a shoe shop."}]
    calls = []
    for number, question in enumerate(QUESTIONS):
        at = now - timedelta(minutes=30 - number)
        history = [*history, {"role": "user", "content": question}]
        answer = {"role": "assistant", "content": ANSWERS[number % len(ANSWERS)]}
        calls.append(
            {
                **_plain(at, number + 1, lot),
                "status": "SUCCESS",
                "session_id": SESSION,
                "user_id": USER,
                "messages": history,
                "response_message": answer,
            }
        )
        history = [*history, answer]
    return calls


def _called(number: int, name: str, arguments: str) -> Call:
    function = {"name": name, "arguments": arguments}
    return {"id": f"c{number}", "type": "function", "function": function}


def _known(now: datetime) -> list[Call]:
    """Return a call that has everything, and one that its worker took down."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    image = {"type": "image", "source": reference_to(PICTURE_SHA, len(PICTURE), "bytes", None)}
    rich: Call = {
        "_id": RICH,
        "created_at": now - timedelta(minutes=6),
        "completed_at": now - timedelta(minutes=6) + timedelta(seconds=2.3),
        "status": "SUCCESS",
        "call_type": "CHAT",
        "provider": "openai",
        "model": "gpt-4o",
        "response_model": "gpt-4o-2026-08-06",
        "endpoint": "https://api.openai.com/v1/chat/completions",
        "system_prompt": "You are helpful, and short.",
        "messages": [
            {"role": "user", "content": "Hi there"},
            {"role": "assistant", "content": "Hello, how can I help?"},
            {"role": "user", "content": [{"type": "text", "text": "Is it warm here?"}, image]},
            {
                "role": "assistant",
                "tool_calls": [
                    _called(1, "weather", '{"city":"Bern"}'),
                    _called(2, "news", '{"about":"Bern"}'),
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": '{"sky":"clear"}'},
            {"role": "tool", "tool_call_id": "c2", "content": "no network", "is_error": True},
        ],
        "response_message": {
            "role": "assistant",
            "reasoning_content": "The tool says so.",
            "content": "It is **warm**:\n\n| city | sky |\n|---|---|\n| Bern | clear |\n\n"
            "[More](https://www.example.org/x)\u200b",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {"url": "https://cited.example/", "title": "Bern today"},
                }
            ],
        },
        "tools": [tool],
        "temperature": 0.2,
        "request_params": {"seed": 7},
        "usage": {"prompt_tokens": 1_200, "prompt_tokens_details": {"cached_tokens": 800}},
        "prompt_tokens": 1_200,
        "cached_tokens": 800,
        "completion_tokens": 210,
        "reasoning_tokens": 64,
        "total_tokens": 1_410,
        "estimated_cost": 0.0041,
        "cost_source": "the price list",
        "cost_details": {"input": 0.002, "output": 0.0021},
        "latency_ms": 2_300.0,
        "time_to_first_token_ms": 200.0,
        "user_id": USER,
        "company_id": COMPANY,
        "trace_id": TRACE,
        "session_id": SESSION,
        "task_id": "one",
        "task": {"name": "shop.tasks.answer", "retries": 1, "attempt_id": "a2", "queue": "slow"},
        "attempts": [
            {"status": 503, "duration_ms": 120.0, "body": {"error": {"message": "overloaded"}}},
            {"status": 200, "duration_ms": 900.0},
        ],
        "scores": [{"name": "helpful", "value": True, "source": "user", "comment": "thanks"}],
        "tools_called": ["weather", "news"],
        "media": [PICTURE_SHA],
        "process_nonce": "process 4000",
        "encoding_notes": ["messages.0: a key was no string"],
        "a_later_version": {"knows": "more of it"},
    }
    lost: Call = {
        **{name: rich[name] for name in ("call_type", "model", "messages", "tools", "user_id")},
        "_id": LOST,
        "created_at": now - timedelta(minutes=7),
        "status": "ABANDONED",
        "ended_by": "worker_lost",
        "error_type": "WorkerLostError",
        "error_message": "Worker exited prematurely: signal 9 (SIGKILL)",
        "error_traceback": "Traceback (most recent call last):\n  File x",
        "error_details": {"code": "x"},
        "task_id": "one",
        "task": {"name": "shop.tasks.answer", "retries": 0, "attempt_id": "a1"},
    }
    return [rich, lost]


def extreme(now: datetime) -> list[Call]:
    """Return calls with values that are as long, as odd and as hostile as recorded ones get."""
    lot = random.Random(16)
    calls = []
    for number, text in enumerate(STRANGE):
        at, name = now - timedelta(minutes=2, seconds=number), shortened(text)
        task = {
            "name": f"shop.{name}",
            "attempt_id": name,
            "queue": name,
        }
        calls.append(
            {
                **_plain(at, number, lot),
                "model": name,
                "service": "extreme",
                "user_id": name,
                "company_id": name,
                "trace_id": name,
                "session_id": name,
                "task_id": name,
                "task": task | {"root_id": name, "worker": name},
                "status": "ERROR",
                "error_type": name,
                "error_message": text,
                "tags": [name] * 3,
                "messages": [{"role": "user", "content": text}] * 3,
                "tools_called": [name],
                "estimated_cost": 1e12,
                "latency_ms": 4e9,
                "total_tokens": 10**12,
                "metadata": {name.replace("\0", ""): Binary(b"x" * 9_999)},
            }
        )
    return calls
