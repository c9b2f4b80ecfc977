"""What a message or a tool holds in any of its places may be of any type of BSON."""

import copy
from contextlib import suppress
from typing import Any

import bson
from anything import places
from whole_documents import ANTHROPIC, OPENAI

from llm_audit.exports.fine_tuning import fine_tuning_example
from llm_audit.exports.openai_messages import NoExampleError
from llm_audit.providers.messages import read_answers, read_request

# Code is a text that has no hash, so it can be in no set.
ODD = [
    bson.Code("x"),
    bson.Code("user"),
    {"a": 1},
    [1],
    ["string", "null"],
    5,
    None,
    b"x",
    "OBJECT",
]
FIELDS = ("messages", "response_message", "tools", "system_prompt", "input", "media")
SCHEMA = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
CHAT = {**OPENAI, "system_prompt": "x", "other_choices": [], "status": "SUCCESS"}
CALLS: list[dict[str, Any]] = [
    CHAT,
    OPENAI,
    {**ANTHROPIC, "status": "SUCCESS"},
    {**CHAT, "tools": [{"name": "f", "input_schema": SCHEMA}]},
    {**CHAT, "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}]},
]


def test_any_type_in_any_place_is_read() -> None:
    """Conversations, and examples to fine-tune with, are made of what is there, or refused."""
    for call in CALLS:
        said = {name: call[name] for name in FIELDS if name in call}
        for number in range(len(list(places(said)))):
            for odd in ODD:
                changed = copy.deepcopy(said)
                container, key = list(places(changed))[number]
                container[key] = odd
                document = call | changed
                assert isinstance(read_request(document), list)
                assert isinstance(read_answers(document), list)
                with suppress(NoExampleError):
                    assert fine_tuning_example(document)


def test_a_schema_may_name_several_types() -> None:
    """JSON Schema allows a list of types where Gemini has one."""
    assert '["string", "null"]' in fine_tuning_example(CALLS[3])
