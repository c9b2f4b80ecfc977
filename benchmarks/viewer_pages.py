"""An address for every page of the viewer, and for every part of one, to measure it by."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from llm_audit.queries.steps import Document
from llm_audit.web.routes import PAGES, PARTS


class Address(NamedTuple):
    """What is asked for.

    Attributes:
        path: Of the page.
        own: Its parameters.
        has_time: Whether it is about a stretch of time.
        what: It is of, where a page is measured more than once.
    """

    path: str
    own: Mapping[str, str]
    has_time: bool
    what: str = ""

    def of(self, since: str | None) -> str:
        """Return it with the time from which on calls are looked at; None for the usual one."""
        since_when = {"since": since} if since else {}
        query = urlencode({**self.own, **since_when})
        return f"{self.path}?{query}" if query else self.path

    @property
    def name(self) -> str:
        """As a table shows it."""
        return f"`{self.path}`{f', {self.what}' if self.what else ''}"


def addresses(call: Document, other: Document, *, text: str, sha256: str) -> list[Address]:
    """Return addresses, at least one for each page and each part.

    Args:
        call: One made in a task, with everything that a call has an id of.
        other: One to compare it with.
        text: To search for.
        sha256: Of a content that the call names.
    """
    task: dict[str, Any] = call["task"]
    one = {"id": call["_id"]}
    ids: dict[str, Mapping[str, str]] = {
        "/call": one,
        "/call/said": one,
        "/call/raw": one,
        "/media": {"call": call["_id"], "sha256": sha256},
        "/diff": {"a": call["_id"], "b": other["_id"]},
        "/search": {"q": text},
        "/part/search/found": {"q": text},
        "/session": {"id": call["session_id"]},
        "/process": {"id": call["process_nonce"]},
        "/part/tools/arguments": {"tool": "tool_1"},
        "/part/process/arrived": {"id": call["process_nonce"]},
        "/user": {"id": call["user_id"]},
        "/company": {"id": call["company_id"]},
        "/trace": {"id": call["trace_id"]},
        "/task": {"id": call["task_id"]},
        "/workflow": {"id": task["root_id"]},
        "/export": {"since": "1h"},  # of a million, that is a lot
        "/part/calls/news": {"from": call["created_at"].isoformat(), "shown": "1"},
    }
    timeless = {*ids, "/help", "/delivery", "/part/delivery/report", "/part/overview/banner"}
    timeless -= {"/user", "/company", "/part/search/found", "/part/tools/arguments"}
    found = [
        Address(path, ids.get(path, {}), has_time=path not in timeless) for path in (*PAGES, *PARTS)
    ]
    for path in ("/costs", "/latency"):
        found += [
            Address(path, {"by": by}, has_time=True, what=f"by {by}") for by in ("hour", "user_id")
        ]
    found += [
        Address("/tasks", {"show": "newest"}, has_time=True, what="the newest"),
        Address("/tasks", {"show": "workers"}, has_time=True, what="workers"),
        Address("/calls", {"status": "ERROR"}, has_time=True, what="failures"),
    ]
    return found
