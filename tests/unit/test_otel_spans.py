"""What is read of spans, as real instrumentations made them (tests/otel_spans)."""

from collections.abc import Iterator
from typing import Any

import pytest
from patience import share
from recorded_traffic import TRAFFIC, recorded_calls, split
from spans_played import INSTRUMENTATIONS, spans_of

from llm_audit.given import outcomes
from llm_audit.otel import emitted
from llm_audit.otel.spans.kinds import kind_of
from llm_audit.otel.spans.outcome import read_outcome
from llm_audit.otel.spans.request import read_request
from llm_audit.otel.spans.span import Span, SpanEvent
from llm_audit.otel.spans.told import Told
from llm_audit.providers import messages

SYSTEM, HELLO = ("system", "Be short."), ("user", "Hello")
WEATHER = ("user", "Weather in Chur?")
ANSWER = "Grüezi."
MINI, DATED = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
COUNTS = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "cached_tokens": 8}
OF_OPENAI = ("genai-openai", "langfuse", "logfire", "openinference", "traceloop")


def span(**attributes: Any) -> Span:
    return Span("s", "0" * 31 + "1", "0" * 15 + "1", attributes)


def read(made: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the call that a span tells of, as they are recorded; empty for none."""
    seen = Span(
        name=made["name"],
        trace_id=made["trace_id"],
        span_id=made["span_id"],
        attributes=made["attributes"],
        parent_span_id=made["parent_span_id"],
        scope=made["scope"],
        start_ns=made["start_ns"],
        end_ns=made["end_ns"],
        status=made["status"],
        status_message=made["status_message"],
        events=[SpanEvent(**one) for one in made["events"]],
    )
    return fields_of(seen)


def fields_of(seen: Span) -> dict[str, Any]:
    kind = kind_of(seen.attributes)
    if kind is None:
        return {}
    told = Told(seen)
    request, outcome = read_request(told, kind), read_outcome(told, kind)
    said = outcomes.told(outcome.given)
    asked = (request.given.get("provider"), request.given.get("model"))
    return {
        **request.given,
        "request_params": request.params,
        **outcomes.fields_told(said, asked),
        **outcome.fields,
    }


def asked(call: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what was said in a request, tool calls by their names."""
    return [
        (part.role, part.content if part.type == "text" else part.name or part.type)
        for part in messages.read_request(call)
    ]


def answered(call: dict[str, Any]) -> list[str]:
    return [part.content or part.name for part in messages.read_answers(call)[0]]


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (found.get(name), value)
        for name, value in expected.items()
        if found.get(name) != value
    }


def test_every_openai_instrumentation_tells_of_the_same_calls() -> None:
    """Whatever names they have for it, the record says what was asked, answered, used and paid."""
    wrong = {}
    for name in OF_OPENAI:
        calls = [call for made in spans_of(name) if (call := read(made))]
        if name == "logfire":  # the request of the stream; its answer is in a span of its own
            assert calls.pop(3)["ended_by"] == "span_ended"
        plain, tool, after, stream, broken, slow, embedding, response = calls
        last = asked(response)
        said = [answered(one) for one in (plain, after, stream, response)]
        for what, found, expected in (
            ("texts", asked(plain)[:2], [SYSTEM, HELLO]),
            ("image", len(asked(plain)), 3),
            ("tool", asked(tool), [WEATHER]),
            ("after", asked(after)[:2], [WEATHER, ("assistant", "weather")]),
            ("system", last[0][1], "Be short."),
            ("response", last[-1], HELLO),
            ("answers", said, [[ANSWER]] * 4),
            ("call", tool["tools_called"], ["weather"]),
            ("offered", "weather" in str(tool["tools"][0]), True),
            ("models", {one["model"] for one in (plain, tool, after)} <= {MINI, DATED}, True),
            ("seed", plain["request_params"].get("seed"), None if name == "traceloop" else 7),
            ("temperature", plain["temperature"], 0.5),
            ("embedding", embedding["call_type"], "EMBEDDING"),
            ("embedded", embedding["prompt_tokens"], 3),
            ("error", broken["status"], "ERROR"),
            ("message", "No such model." in broken["error_message"], True),
            ("timeout", slow["status"], "TIMEOUT"),
        ):
            if found != expected:
                wrong[name, what] = found, expected
        for call in (plain, tool, after, stream, response):
            expected = {**COUNTS, "status": "SUCCESS", "estimated_cost": 5.4e-06}
            if different := differences(call, expected):
                wrong[name, call.get("response_id")] = different

    assert wrong == {}


def test_what_only_some_tell() -> None:
    """Ids, the model that answered, reasons, errors by type, time to the first chunk."""
    wrong = {}
    for name in ("genai-openai", "openinference", "traceloop"):
        calls = [call for made in spans_of(name) if (call := read(made))]
        expected: list[tuple[int, dict[str, Any]]] = [
            (0, {"response_id": "chatcmpl-1", "response_model": DATED, "finish_reason": "stop"}),
            (0, {"provider": "openai", "model": MINI, "max_tokens": 50}),
            (3, {"streamed": True}),
            (4, {"error_type": "BadRequestError", "ended_by": "exception"}),
            (5, {"error_type": "APITimeoutError"}),
            (7, {"response_id": "resp_1"}),
        ]
        for number, facts in expected:
            if different := differences(calls[number], facts):
                wrong[name, number] = different
        if not 0 < calls[3]["time_to_first_token_ms"] < 1000:
            wrong[name] = calls[3]["time_to_first_token_ms"]

    assert wrong == {}


def test_bodies_of_the_api_are_taken_as_such() -> None:
    """OpenInference has both whole, so the record is in the API's own shape."""
    plain, *_, response = (call for made in spans_of("openinference") if (call := read(made)))

    assert plain["api"] == "openai.chat"
    assert plain["messages"][1]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "https://example.org/a.png"},
    }
    assert response["api"] == "openai.responses"
    assert (response["input"], response["system_prompt"]) == ("Hello", "Be short.")


def test_the_sdks_own_spans() -> None:
    """Anthropic's count cached tokens in; Mistral's does not say that its call has failed."""
    found, broken = (read(made) for made in spans_of("anthropic"))
    official = read(spans_of("genai-anthropic")[0])
    mistral, unanswered = (read(made) for made in spans_of("mistral"))
    counts = {"prompt_tokens": 17, "cached_tokens": 3, "cache_write_tokens": 4}

    assert differences(found, counts | {"finish_reason": "end_turn", "max_tokens": 50}) == {}
    assert differences(official, counts | {"provider": "anthropic"}) == {}
    assert (broken["status"], broken["http_status"]) == ("ERROR", 400)
    assert (mistral["provider"], answered(mistral)) == ("mistral", [ANSWER])
    assert (unanswered["status"], unanswered["ended_by"]) == ("INCOMPLETE", "span_ended")


def test_every_span_is_read_at_any_moment() -> None:
    """With any part of its attributes, as when it starts or was cut, reading does not fail."""
    failed = {}
    for name in INSTRUMENTATIONS:
        for made in spans_of(name):
            for kept in range(len(made["attributes"])):
                some = dict(list(made["attributes"].items())[:kept])
                try:
                    read({**made, "attributes": some})
                except Exception as error:  # noqa: BLE001  (any failure is the finding)
                    failed[name, made["name"], kept] = repr(error)

    assert failed == {}


def test_older_and_other_names() -> None:
    """Each says the same: numbered names, events, sentry's, older ones of logfire's and others'."""
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    messages_said = '[{"role": "user", "content": "Hello"}]'
    answer = '{"role": "assistant", "content": "Grüezi."}'
    whole = "gen_ai.event.content"
    spans = {
        "traceloop": span(
            **{
                "llm.request.type": "chat",
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": "Hello",
                "gen_ai.completion.0.role": "assistant",
                "gen_ai.completion.0.content": "Grüezi.",
                "gen_ai.usage.prompt_tokens": 20,
            }
        ),
        "sentry": span(
            **call,
            **{
                "gen_ai.request.messages": messages_said,
                "gen_ai.response.text": '["Grüezi."]',
                "gen_ai.usage.input_tokens": 20,
                "gen_ai.usage.input_tokens.cached": 8,
            },
        ),
        "logfire": span(
            **call,
            request_data=f'{{"model": "m", "messages": {messages_said}}}',
            response_data=f'{{"message": {answer}, "usage": {{"prompt_tokens": 20}}}}',
        ),
        "pydantic-ai": span(
            **call,
            **{"gen_ai.usage.input_tokens": 20},
            events='[{"event.name": "gen_ai.user.message", "role": "user", "content": "Hello"},'
            f'{{"event.name": "gen_ai.choice", "message": {answer}}}]',
        ),
        "span events": Span(
            "s",
            "0" * 31 + "1",
            "0" * 15 + "1",
            {**call, "gen_ai.usage.input_tokens": 20},
            events=[
                SpanEvent("gen_ai.user.message", 1, {"content": "Hello"}),
                SpanEvent("gen_ai.choice", 2, {"message": answer}),
            ],
        ),
        "Azure's events": Span(
            "s",
            "0" * 31 + "1",
            "0" * 15 + "1",
            {**call, "gen_ai.usage.input_tokens": 20},
            events=[
                SpanEvent("gen_ai.user.message", 1, {whole: '{"content": "Hello"}'}),
                SpanEvent("gen_ai.choice", 2, {whole: f'{{"message": {answer}}}'}),
            ],
        ),
        "content events": Span(
            "s",
            "0" * 31 + "1",
            "0" * 15 + "1",
            {**call, "gen_ai.usage.input_tokens": 20},
            events=[
                SpanEvent("gen_ai.content.prompt", 1, {"gen_ai.prompt": messages_said}),
                SpanEvent("gen_ai.content.completion", 2, {"gen_ai.completion": f"[{answer}]"}),
            ],
        ),
        "OpenInference": span(
            **{
                "openinference.span.kind": "LLM",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.contents.0.message_content.type": "text",
                "llm.input_messages.0.message.contents.0.message_content.text": "Hello",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": "Grüezi.",
                "llm.token_count.prompt": 20,
            }
        ),
    }
    wrong = {}
    for name, seen in spans.items():
        found = fields_of(seen)
        said = asked(found), answered(found), found.get("prompt_tokens")
        if said != ([HELLO], [ANSWER], 20):
            wrong[name] = said

    assert wrong == {}


def test_which_spans_are_calls() -> None:
    """Agents, tools and workflows are steps; what is neither is left alone."""
    expected = {
        ("gen_ai.operation.name", "chat"): "CHAT",
        ("gen_ai.operation.name", "generate_content"): "CHAT",
        ("gen_ai.operation.name", "text_completion"): "COMPLETION",
        ("gen_ai.operation.name", "embeddings"): "EMBEDDING",
        ("gen_ai.operation.name", "invoke_agent"): "AGENT",
        ("gen_ai.operation.name", "execute_tool"): "TOOL_EXECUTION",
        ("gen_ai.operation.name", "create_agent"): None,
        ("gen_ai.operation.name", "retrieval"): None,
        ("openinference.span.kind", "LLM"): "CHAT",
        ("openinference.span.kind", "EMBEDDING"): "EMBEDDING",
        ("openinference.span.kind", "CHAIN"): "AGENT",
        ("openinference.span.kind", "RETRIEVER"): None,
        ("langfuse.observation.type", "generation"): "CHAT",
        ("langfuse.observation.type", "span"): None,
        ("llm.request.type", "completion"): "COMPLETION",
        ("traceloop.span.kind", "tool"): "TOOL_EXECUTION",
        ("http.request.method", "POST"): None,
    }
    found = {
        (name, value): (kind := kind_of({name: value})) and kind.call_type
        for name, value in expected
    }

    assert found == expected
    assert kind_of({"gen_ai.operation.name": "chat", "llm_audit.call_id": "1"}) is None
    assert kind_of({"gen_ai.operation.name": "chat", "logfire.span_type": "pending_span"}) is None


def test_hostile_attributes_are_read_to_their_end() -> None:
    """Numbers that count to nothing, texts that are no JSON, names within names."""
    odd: list[dict[str, Any]] = [
        {"gen_ai.input.messages": "[" * 100_000},
        {"gen_ai.input.messages": '{"role": "user"}', "gen_ai.output.messages": "[1, null]"},
        {"llm.input_messages.0": "x", "llm.input_messages.0.message.role": "user"},
        {f"llm.input_messages.{10**30}.message.content": "Hello"},
        {"llm.input_messages.²": "x", "llm.tools.x": 1, "gen_ai.prompt.": 2},
        {"gen_ai.usage.input_tokens": "many", "gen_ai.usage.output_tokens": -1},
        {"gen_ai.usage.raw": "[]", "llm.cost.total": float("nan")},
        {"gen_ai.response.time_to_first_chunk": "soon", "gen_ai.response.finish_reasons": []},
        {"langfuse.observation.completion_start_time": "yesterday"},
        {"input.value": '{"model": "m", "messages": 7}', "output.value": '{"choices": 7}'},
        {"gen_ai.request.temperature": "hot", "gen_ai.request.max_tokens": 1.5},
        {"gen_ai.request.": 1, "gen_ai.request": 2, "llm.invocation_parameters": "null"},
        {"http.response.status_code": "four hundred", "error.type": 7},
        {"tag.tags": [1, None, "kept"], "session.id": 12, "user.id": True},
    ]
    failed = {}
    for attributes in odd:
        try:
            seen = span(**{"gen_ai.operation.name": "chat"}, **attributes)
            fields_of(seen)
            fields_of(Span(**{**vars_of(seen), "status": "ERROR"}))
        except Exception as error:  # noqa: BLE001  (any failure is the finding)
            failed[str(attributes)[:80]] = repr(error)

    assert failed == {}


def vars_of(seen: Span) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in Span.__slots__}


@pytest.mark.many
def test_what_is_said_in_spans_of_records_is_what_the_records_say() -> None:
    """Read back by the same table: who, how much, and every part of what was said."""
    wrong = {}
    for document in (*made_up(), *share(of_traffic(), 4)):
        call_id = document["_id"]
        start = emitted.started(call_id, document, content=True)
        end = emitted.ended(document, content=True)
        attributes = {**start.attributes, **end.attributes}
        del attributes["llm_audit.call_id"]
        status = "ERROR" if end.failure else "UNSET"
        found = fields_of(Span("s", "1" * 32, "1" * 16, attributes, status=status))
        plain = ("model", "prompt_tokens", "completion_tokens", "response_id", "finish_reason")
        expected = {name: document[name] for name in plain if name in document}
        different = differences(found, expected)
        said = read_back(document), read_back(found)
        if different or said[0] != said[1]:
            wrong[call_id] = different, said

    assert wrong == {}


def read_back(call: dict[str, Any]) -> list[Any]:
    """Return what was asked and answered, however it is spelled."""
    parts = [*messages.read_request(call), *(messages.read_answers(call)[0])]
    return [
        (part.type, part.content, part.id, part.name, part.arguments, part.response)
        for part in parts
        if part.type in {"text", "reasoning", "tool_call", "tool_call_response"}
    ]


def made_up() -> list[dict[str, Any]]:
    return [
        {
            "_id": "01a00000-0000-7000-8000-000000000001",
            "call_type": "CHAT",
            "provider": "bedrock",
            "model": "m",
            "system_prompt": "Be short.",
            "messages": [
                {"role": "user", "content": [{"text": "Hello"}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "f"}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": []}}]},
            ],
            "status": "SUCCESS",
            "response_message": {"role": "assistant", "content": [{"text": "Grüezi."}]},
            "prompt_tokens": 3,
            "completion_tokens": 4,
        },
        {
            "_id": "z",
            "call_type": "CHAT",
            "model": "m",
            "messages": [  # Gemini's has no id
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
            ],
        },
        {"_id": "x", "call_type": "EMBEDDING", "model": "m", "input": ["Hello", "you"]},
        {"_id": "y", "call_type": "CHAT", "model": "m", "status": "TIMEOUT", "error_type": "E"},
    ]


def of_traffic() -> Iterator[dict[str, Any]]:
    """Yield calls that providers really answered, where the recorded traffic lies beside us."""
    if not TRAFFIC.is_dir():
        return
    for number, call in enumerate(recorded_calls()):
        given, _ = split(call)
        answer = call["response"]
        if isinstance(answer, dict) and isinstance(given.get("messages"), list):
            said = outcomes.told({"response": answer})
            fields = outcomes.fields_told(said, (given["provider"], given["model"]))
            yield {"_id": f"traffic {number}", "call_type": "CHAT", **given, **fields}
