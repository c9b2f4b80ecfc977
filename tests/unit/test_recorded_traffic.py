"""What real providers sent is read right: tokens, messages, tools, cost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic.types
import openai.types
import openai.types.responses
import pytest
from openai.types.chat import ChatCompletion

from llm_audit.prices import Sale
from llm_audit.prices.price_list import list_cost
from llm_audit.providers.response import read_response
from llm_audit.providers.tool_calls import tools_asked_for
from llm_audit.providers.usage import read_usage

TRAFFIC = Path(__file__).parents[3] / "shared" / "traffic"

# What has no message: counting, embedding, ranking, assistants' bookkeeping, images.
MESSAGELESS = (
    *("count_tokens", "count-tokens", "countTokens", "input_tokens", "mbed", "rerank", "/images/"),
    *("/assistants", "/threads", "/predictions", "/v1/models/{model}", "cachedContents"),
    *(":predict",),
)


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """Give the recorded calls that succeeded without streaming."""
    if not TRAFFIC.is_dir():
        pytest.skip(f"the recorded traffic is not at {TRAFFIC}")
    lines = [
        line
        for name in ("openllmetry", "pydantic-ai", "logfire")
        for line in (TRAFFIC / f"{name}.jsonl").read_text("utf-8").split("\n")
    ]
    calls = [json.loads(line) for line in lines if line]
    return [c for c in calls if c["status"] == 200 and isinstance(c["response"], dict)]


def usage_of(body: dict[str, Any]) -> Any:
    return body.get("usageMetadata") or body.get("meta") or body.get("usage")


def expected_counts(body: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return input and output tokens by the rules of the API that a body comes from."""
    usage = usage_of(body)
    on_top: tuple[str, ...] = ()
    if "usageMetadata" in body:
        names = ("promptTokenCount", "candidatesTokenCount")
        on_top = ("toolUsePromptTokenCount",)
    elif "billed_units" in usage:
        usage, names = usage["billed_units"], ("input_tokens", "output_tokens")
    elif "stopReason" in body:
        names = ("inputTokens", "outputTokens")
        on_top = ("cacheReadInputTokens", "cacheWriteInputTokens")
    elif "input_tokens" in usage:
        names = ("input_tokens", "output_tokens")
        on_top = ("cache_read_input_tokens", "cache_creation_input_tokens")
    else:
        names = ("prompt_tokens", "completion_tokens")
    prompt, completion = (usage.get(name) for name in names)
    if "thoughtsTokenCount" in usage:
        completion = (completion or 0) + usage["thoughtsTokenCount"]
    if prompt is not None:
        prompt += sum(usage.get(name, 0) for name in on_top)
    for request in usage.get("iterations") or ():
        if request["type"] != "message":  # an advisor's, which Anthropic counts apart
            prompt, completion = (
                (prompt or 0) + request["input_tokens"],
                (completion or 0) + request["output_tokens"],
            )
    return prompt, completion


def test_recorded_usages_are_read(records: list[dict[str, Any]]) -> None:
    """Every usage that a real provider sent gives its input and output, and no complaint."""
    wrong, problems, checked = [], list[str](), 0
    for body in filter(usage_of, (record["response"] for record in records)):
        counts = read_usage(usage_of(body), problems)
        found = (counts.get("prompt_tokens"), counts.get("completion_tokens"))
        checked += 1
        if found != expected_counts(body):
            wrong.append((usage_of(body), counts))

    assert wrong == []
    assert problems == []
    assert checked > 800


def test_recorded_usages_add_up(records: list[dict[str, Any]]) -> None:
    """Input and output make the total, cached tokens are input and reasoning is output."""
    wrong = []
    for body in (record["response"] for record in records):
        counts = read_usage(usage_of(body))
        if not {"prompt_tokens", "completion_tokens"} <= counts.keys():
            continue
        cached = counts.get("cached_tokens", 0) + counts.get("cache_write_tokens", 0)
        if (
            counts["prompt_tokens"] + counts["completion_tokens"] != counts["total_tokens"]
            or cached > counts["prompt_tokens"]
            or counts.get("reasoning_tokens", 0) > counts["completion_tokens"]
        ):
            wrong.append(body)

    # Gemini's OpenAI-compatible endpoint counts thoughts in the total and nowhere else.
    assert {body["model"] for body in wrong} == {"gemini-2.5-pro-preview-05-06"}
    assert len(wrong) == 2


def calls_in(value: object) -> Iterator[str]:
    """Walk through a whole answer and name every call of a tool in it, wherever it stands."""
    if isinstance(value, list):
        for item in value:
            yield from calls_in(item)
    elif isinstance(value, dict):
        yield from call_names(value)
        for key in ("message", "content", "parts", "tool_calls", "output"):
            yield from calls_in(value.get(key))


def call_names(item: dict[str, Any]) -> Iterator[str]:
    for key in ("function", "functionCall", "toolUse", "function_call"):
        if isinstance(call := item.get(key), dict) and call["name"]:  # Snowflake: "" means none
            yield call["name"]
    if "executableCode" in item:
        yield "code_execution"
    if "toolCall" in item:
        yield item["toolCall"]["toolType"]
    kind = str(item.get("type"))
    if kind.endswith(("tool_use", "_call")):
        yield item.get("name") or kind
    yield from (tool["type"] for tool in item.get("executed_tools", []))


def answer_in(body: dict[str, Any]) -> object:
    """Return the part of a body that answers, of several choices the first."""
    for key in ("choices", "candidates"):
        if key in body:
            return body[key][:1]
    return body


def test_recorded_tool_calls_are_named(records: list[dict[str, Any]]) -> None:
    """Every tool that a real response asks for is named, and none where there is none."""
    wrong, with_tools = [], 0
    for record in records:
        names = tools_asked_for(read_response(record["response"]).get("response_message"))[0]
        with_tools += "tool_call" in record["features"]
        if names != list(calls_in(answer_in(record["response"]))) or (
            "tool_call" in record["features"] and not names
        ):
            wrong.append((record["id"], names))

    assert wrong == []
    assert with_tools > 280


def test_recorded_responses_have_message_and_finish_reason(records: list[dict[str, Any]]) -> None:
    """Every real answer gives its message and finish reason, where it has them."""
    without_message, without_reason, checked = [], [], 0
    for record in records:
        if any(part in record["endpoint"] for part in MESSAGELESS):
            continue
        found = read_response(record["response"])
        checked += 1
        if not found.get("response_message"):
            without_message.append(found.get("finish_reason"))
        if "finish_reason" not in found:
            without_reason.append(record["endpoint"])

    # Filtered before anything was said, Responses that still run, an embedding by Titan.
    assert {str(reason) for reason in without_message} == {
        *("content_filter", "MODEL_ARMOR", "SAFETY", "in_progress", "queued", "None"),
    }
    assert set(without_reason) == {
        "/api/v2/cortex/v1/chat/completions",
        "/model/{model}/invoke",
        "/v1/audio/transcriptions",
        "/v1/completions",
        "/v1/responses/compact",
    }
    assert checked > 750


def test_recorded_counts_beside_the_answer_are_found(records: list[dict[str, Any]]) -> None:
    """APIs that report counts without a usage object around them have them read, too."""
    counts = {
        record["provider"]: read_usage(read_response(record["response"])["usage"])
        for record in records
        if record["provider"] in {"alephalpha", "watsonx", "ollama"}
        and "usage" not in record["response"]
    }

    assert counts["alephalpha"] == {
        "prompt_tokens": 9,
        "completion_tokens": 1000,
        "total_tokens": 1009,
    }
    assert counts["watsonx"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert counts["ollama"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("class_", "provider", "endpoint", "at_least"),
    [
        (ChatCompletion, "openai", "/v1/chat/completions", 100),
        (ChatCompletion, "groq", "/openai/v1/chat/completions", 20),
        (openai.types.Completion, "openai", "/v1/completions", 5),
        (openai.types.CreateEmbeddingResponse, "openai", "/v1/embeddings", 1),
        (openai.types.responses.Response, "openai", "/v1/responses", 100),
        (anthropic.types.Message, "anthropic", "/v1/messages", 150),
    ],
    ids=["chat", "chat-groq", "completions", "embeddings", "responses", "anthropic"],
)
def test_sdk_objects_read_like_their_json(
    records: list[dict[str, Any]], class_: Any, provider: str, endpoint: str, at_least: int
) -> None:
    """An SDK's object gives what the JSON it was made of gives, message and tools alike."""
    checked = 0
    for record in records:
        if (record["provider"], record["endpoint"]) != (provider, endpoint):
            continue
        response = class_.construct(**record["response"])  # as the SDK itself builds it
        found, expected = read_response(response), read_response(record["response"])
        usage, expected_usage = found.pop("usage", None), expected.pop("usage", None)
        checked += 1

        assert found == expected
        assert read_usage(usage) == read_usage(expected_usage)
        if choices := getattr(response, "choices", None):
            message = getattr(choices[0], "message", None)
            assert tools_asked_for(message)[0] == tools_asked_for(expected["response_message"])[0]

    assert checked >= at_least


def test_estimates_match_real_bills(records: list[dict[str, Any]]) -> None:
    """Calls that OpenRouter billed at list price, cached tokens included, cost what it billed."""
    bills = []
    for body in (r["response"] for r in records if r["provider"] == "openrouter"):
        if body["model"].startswith("anthropic/") and body["usage"].get("cost"):
            counts = read_usage(body["usage"])
            sale = Sale("openrouter", None, body["model"], body["usage"], counts, {}, {})
            cost = list_cost(sale)
            bills.append((body["usage"]["cost"], cost and cost.usd))

    assert len(bills) > 5
    assert [ours for _, ours in bills] == pytest.approx([theirs for theirs, _ in bills])
