"""What a page shows, as commands: of `llm-audit`, and as the aggregation behind it, for mongosh."""

from typing import get_args

from llm_audit.queries.grouping import Bucket
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.shell import joined
from llm_audit.web.pages.calls.calls import ORDERS
from llm_audit.web.pages.summaries.over_time import USUAL, bucket_for
from llm_audit.web.parameters import DATES, EXCLUDABLE, FIELDS, NOT, PROMPT

_FLAGS = {"call_type": "type", "tags": "tag"}
_OF_ONE = {  # pages of one thing, and the command that shows it by its id
    "call": "show",
    "call/raw": "show",
    "trace": "trace",
    "session": "session",
    "task": "task",
}
_SUMMED = {  # pages of many calls: their command, and their pipeline
    "calls": ("calls --limit 100", "call-previews"),
    "failures": ("failures", "failure-summary"),
    "prompts": ("prompts", "prompt-summary"),
    "tools": ("tools", "tool-usage"),
    "users": ("costs --by user_id", "user-summary user_id"),
    "companies": ("costs --by company_id", "user-summary company_id"),
    "tasks": ("latency --by task_name", "task-summary"),
}
_OF_STATUSES = ("status", f"{NOT}status")


def in_a_shell(asked: Asked) -> list[str]:
    """Return the commands that say what a page says; none if there are none."""
    page, identity = asked.page, asked.one("id")
    if page in _OF_ONE and identity is not None:
        dashes = ["--"] if identity.startswith("-") else []
        return [joined(["llm-audit", _OF_ONE[page], *dashes, identity])]
    if page == "workflow" and identity is not None:
        return [_joined("calls", ["--workflow", identity]), _pipeline(["workflow", identity], [])]
    if page == "process" and identity is not None:
        return [_joined("calls", ["--process-nonce", identity])]
    if page == "search" and (text := asked.one("q")):
        return [_joined("search", [*_filters(asked), "--", text])]
    if page == "delivery":
        return ["llm-audit doctor"]
    return _of_many(asked)


def _of_many(asked: Asked) -> list[str]:
    filters = _filters(asked)
    zone = ["--timezone", asked.zone]
    if asked.page == "":
        bucket = bucket_for(asked.filters(since=USUAL))
        both = [_joined("usage", ["--bucket", bucket, *zone, *filters])]
        pipeline = ["usage-over-time", bucket, asked.zone]
    elif asked.page in ("costs", "latency"):
        by = asked.one("by") or "model"
        both = [
            _joined(asked.page, ["--by", by, *(zone if by in get_args(Bucket) else []), *filters])
        ]
        pipeline = [f"{asked.page.removesuffix('s')}-summary", by, asked.zone]
    elif asked.page == "calls" and (order := asked.one("order")) in ORDERS:
        return [_pipeline(["largest-calls", ORDERS[order][0]], filters)]
    elif asked.page in _SUMMED:
        command, named = _SUMMED[asked.page]
        both, pipeline = [_joined(command, filters)], named.split()
    else:
        return []
    if asked.one(PROMPT) is None:  # which a pipeline cannot look up
        both.append(_pipeline(pipeline, filters))
    return both


def _joined(command: str, words: list[str]) -> str:
    return joined(["llm-audit", *command.split(), *words])


def _pipeline(named: list[str], filters: list[str]) -> str:
    return joined(["llm-audit", "pipeline", "--mongosh", *filters, "--", *named])


def _filters(asked: Asked) -> list[str]:
    """Return the filters of a page as options, with the time that it opens with."""
    words = []
    given = [
        pair for pair in asked.given if asked.page != "failures" or pair[0] not in _OF_STATUSES
    ]
    if asked.opens_with:
        given.append(("since", asked.opens_with))
    for name, value in given:
        plain = name.removeprefix(NOT)
        flag = _FLAGS.get(plain, plain.removesuffix("_id").replace("_", "-"))
        if name in DATES:
            words += [f"--{name}", value]
        elif name in FIELDS:
            words += [f"--{flag}", value]
        elif plain in EXCLUDABLE:
            words += ["--not", f"{flag}={value}"]
    return words
