"""`show --full` prints everything that is stored of a call."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from outcome_fields import response_fields
from patience import LONG, share
from recorded_traffic import TRAFFIC, recorded_calls, split
from rich.console import Console

from llm_audit.cli.commands.calls.show import print_call
from llm_audit.display import figures

ROUNDED = {  # for people; `--raw` and `--json` have them exact
    *("estimated_cost", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
}


def printed(document: dict[str, Any], *, full: bool = True) -> str:
    """Return what `show` prints, without the spaces that a terminal needs."""
    out = StringIO()
    console = Console(file=out, width=100_000, no_color=True, markup=False, highlight=False)
    print_call(console, {"_id": "1", "status": "SUCCESS", **document}, {}, full=full)
    return "".join(out.getvalue().split())


def leaves_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in {"role", "type"}:  # the signs and headings say these
                yield from leaves_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves_of(item)
    elif value not in (None, ""):
        yield value


def is_in(leaf: Any, shown: str) -> bool:
    """Tell whether a value was printed, as it is, as JSON has it, or as what its JSON means."""
    spellings = [str(leaf), json.dumps(leaf, ensure_ascii=False, default=str)]
    spellings += [figures.safe(str(leaf)), figures.cell(leaf)]
    if any("".join(one.split()).strip('"') in shown for one in spellings):
        return True
    if not isinstance(leaf, str):
        return False
    try:
        meant = json.loads(leaf)
    except ValueError:
        return False
    return isinstance(meant, dict | list) and all(is_in(one, shown) for one in leaves_of(meant))


@pytest.mark.many
@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_nothing_of_a_recorded_call_is_missing() -> None:
    """Whatever real requests and responses hold, beside the text as well, is printed."""
    compared = 0
    for call in share(recorded_calls(), 8):
        if not isinstance(call["response"], dict) or len(str(call)) > 50_000:
            continue
        start, request_params = split(call)
        outcome = response_fields(call["response"], {}, None, None, (None, None))
        document = start | outcome
        shown = printed({**document, "request_params": request_params})
        said = {name: value for name, value in document.items() if name not in ROUNDED}
        missing = [leaf for leaf in leaves_of(said) if not is_in(leaf, shown)]
        assert missing == [], call["id"]
        compared += 1
    assert compared > (600 if LONG else 75)


MESSAGE = {
    "role": "assistant",
    "content": "hi",
    "thinking": "THOUGHT",
    "images": [{"type": "image_url", "image_url": {"url": "https://IMAGE"}}],
    "annotations": [{"url_citation": {"url": "https://CITED", "start_index": 4711}}],
    "tool_plan": "PLAN",
    "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": '{"a": 1}'}, "index": 815}],
}


def test_what_is_beside_the_text_is_printed() -> None:
    """So is what no drawer knows, in messages, in other choices and in the rest of a response."""
    shown = printed(
        {
            "messages": [{"role": "user", "content": "x", "name": "ANNE", "cache": {"ttl": 3600}}],
            "response_message": MESSAGE,
            "other_choices": [{"index": 1, "message": {"content": "b"}, "logprobs": [-0.25]}],
            "response_extra": {"system_fingerprint": "fp_1"},
            "usage": {"prompt_tokens": 3, "odd": 99},
            "tools": [{"function": {"name": "f", "description": "DESCRIBED"}}],
            "a_later_field": {"holds": "NEW"},
        }
    )
    for word in (
        *("THOUGHT", "https://IMAGE", "https://CITED", "4711", "PLAN", "815", "ANNE", "3600"),
        *("-0.25", "fp_1", "99", "DESCRIBED", "NEW"),
    ):
        assert word in shown, word


def test_without_full_it_is_named() -> None:
    """A look at a call that is no full one says what it does not show of what was said."""
    shown = printed({"response_message": MESSAGE}, full=False)

    assert "THOUGHT" in shown
    assert "https://CITED" not in shown
    assert "notshown:response_message.images,response_message.annotations" in shown
    said_whole = printed({"response_message": {"role": "assistant", "content": "hi"}}, full=False)
    assert "notshown" not in said_whole
