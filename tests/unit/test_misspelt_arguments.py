"""Arguments with a wrong name: the call is recorded, and what was meant is said."""

import inspect
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from llm_audit import (
    LLMCallTypeEnum,
    LLMLogger,
    UsageError,
    audit_context,
    errors,
    log_chat,
    log_classification,
    log_rag_synthesis,
    log_sentiment_analysis,
    misspelt,
)
from llm_audit.settings import changed_settings
from llm_audit.testing import RecordedCalls

MISSPELT = {
    "mesages": "messages",
    "modle": "model",
    "sytem_prompt": "system_prompt",
    "temprature": "temperature",
    "max_token": "max_tokens",
    "tool": "tools",
    "tag": "tags",
    "traceId": "trace_id",
    "userid": "user_id",
    "company": "company_id",
    "parent_call": "parent_call_id",
    "calltype": "call_type",
    "metdata": "metadata",
}
# Of OpenRouter, Google, Bedrock, Mistral, Cohere, Ollama, vLLM, Hugging Face, LiteLLM, Jina ...
NAMES_OF_PROVIDERS = """
stop stop_sequences top_p top_k topP topK min_p typical_p min_tokens max_new_tokens maxOutputTokens
maxTokens max_output_tokens max_tokens_to_sample max_completion_tokens num_predict num_ctx contents
system_instruction generation_config tool_config toolConfig safety_settings cached_content modelId
inferenceConfig additionalModelRequestFields guardrailConfig model_id system requestMetadata prompt
preamble chat_history documents citation_options input_type inputs inputText texts images truncate
conversation_id random_seed safe_prompt prefix prediction keep_alive format raw suffix options think
models route provider providers transforms plugins usage reasoning trace user verbosity task query
repetition_penalty presence_penalty length_penalty do_sample num_return_sequences best_of echo lora
guided_json logit_bias logprobs top_logprobs prompt_logprobs chat_template seed stream model_list
api_base api_key api_version base_url custom_llm_provider fallbacks mock_response num_retries
timeout extra_headers extra_body
maximum_tokens parent_id parent_message_id message_id messageId preview_id session tokens
functions function_call response_format service_tier store modalities audio
dimensions encoding_format normalized top_n metadata_ metadata_filter run_name callbacks thread_id
assistant_id instructions input_audio input_items temperature_range language voice n x
"""


def parameters_of_clients() -> set[str]:
    """Return what two clients name the parameters of their requests."""
    ours, theirs = openai.OpenAI(api_key="x"), anthropic.Anthropic(api_key="x")
    functions: list[Callable[..., Any]] = [
        ours.chat.completions.create,
        ours.chat.completions.parse,
        ours.responses.create,
        ours.embeddings.create,
        ours.completions.create,
        ours.moderations.create,
        ours.images.generate,
        ours.audio.transcriptions.create,
        ours.audio.speech.create,
        theirs.messages.create,
        theirs.beta.messages.create,
    ]
    return {name for function in functions for name in inspect.signature(function).parameters}


def test_real_parameters_are_taken(llm_audit_records: RecordedCalls) -> None:
    """What providers take is recorded without a word, in strict mode too."""
    names = {*parameters_of_clients(), *NAMES_OF_PROVIDERS.split()}
    names -= inspect.signature(LLMLogger.start).parameters.keys()
    assert len(names) > 150
    LLMLogger.start(model="m", messages=[], **dict.fromkeys(names, 1))
    [call] = llm_audit_records
    assert call.request_params.keys() == names


def test_message_is_a_parameter_where_it_is_a_text(llm_audit_records: RecordedCalls) -> None:
    """Cohere's first chat API has the user's text in it; a list in it is a slip for messages."""
    LLMLogger.start(model="m", messages=[], message="Hello")
    assert llm_audit_records[-1].request_params == {"message": "Hello"}
    for slip in ([{"role": "user", "content": "Hello"}], [], {"role": "user"}, None):
        with pytest.raises(UsageError, match="Did you mean messages"):
            LLMLogger.start(model="m", message=slip)


def test_a_near_miss_is_told(
    llm_audit_records: RecordedCalls, caplog: pytest.LogCaptureFixture
) -> None:
    """Strict mode raises; else it is said once, and the value is in request_params."""
    for name, meant in MISSPELT.items():
        with pytest.raises(UsageError, match=rf"start\(\) got {name}.*Did you mean {meant}\?"):
            LLMLogger.start(**{name: "x"})
        with (
            pytest.raises(UsageError, match=f"Did you mean {meant}"),
            LLMLogger.log_call(**{name: "x"}),
        ):
            pass
    with changed_settings(strict=False):
        for _ in range(2):
            LLMLogger.start(model="m", **dict.fromkeys(MISSPELT, "x"))
    assert len(caplog.messages) == len(MISSPELT)
    assert llm_audit_records[-1].request_params == dict.fromkeys(MISSPELT, "x")


def test_what_an_ending_does_not_take_is_left_out(
    llm_audit_records: RecordedCalls, caplog: pytest.LogCaptureFixture
) -> None:
    """complete() and fail() record the outcome all the same, and so do the calls in a context."""
    call_id = LLMLogger.start(model="m", messages=[])
    with pytest.raises(UsageError, match=r"complete\(\) takes no .*estimatedcost.*estimated_cost"):
        LLMLogger.complete(call_id, estimatedcost=1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"fail\(\) takes no argument reason"):
        LLMLogger.fail(call_id, "no", reason="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Did you mean user_id"), audit_context(userid=1):  # type: ignore[arg-type]
        pass
    with changed_settings(strict=False):
        for _ in range(2):
            LLMLogger.complete(call_id, responsemessage="x", cost=1, finish_reason="stop")  # type: ignore[arg-type]
            failed = LLMLogger.start(model="m", messages=[])
            LLMLogger.fail(failed, "no", reason="x")  # type: ignore[arg-type]
            with audit_context(userid=1, session_id=2) as context:  # type: ignore[arg-type]
                assert context.session_id == "2"
    assert len([line for line in caplog.messages if "takes no argument" in line]) == 4
    assert [call.status for call in llm_audit_records] == ["SUCCESS", "ERROR", "ERROR"]
    assert llm_audit_records[0].finish_reason == "stop"


def test_helpers_pass_on_what_start_takes(llm_audit_records: RecordedCalls) -> None:
    """Also where it replaces what they would have set; what they join may be anything."""
    log_chat([], "m", call_type="product_gap", temperature=0)
    log_sentiment_analysis("t", "m", messages=["mine"], system_prompt="mine")
    with changed_settings(strict=False):
        log_rag_synthesis("q", [1, None, b"x"], "m")  # type: ignore[list-item]
        log_rag_synthesis("q", None, "m")  # type: ignore[arg-type]
        log_classification("t", 5, "m")  # type: ignore[arg-type]
    chat, sentiment, *others = llm_audit_records
    assert chat.call_type == LLMCallTypeEnum("PRODUCT_GAP")
    assert (sentiment.messages, sentiment.system_prompt) == (["mine"], "mine")
    assert len(others) == 3
    assert "1\nNone\nb'x'" in others[0].messages[0]["content"]


def test_names_fill_no_memory() -> None:
    """A program that passes on names from outside does not fill its memory with them."""
    misspelt.report_near_misses(LLMLogger.start, {f"message{n}": 1 for n in range(300)})
    misspelt.report_near_misses(LLMLogger.start, {"message" * 100_000: 1})
    assert 0 < sum(map(len, errors._Said.messages.values())) <= 100
