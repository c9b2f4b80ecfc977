"""The table of names: which attributes of a span hold what a field of a call holds.

First the current semantic conventions for GenAI, then older ones and those of others:
OpenInference, Traceloop, langfuse, sentry, logfire, pydantic-ai, Anthropic's and Mistral's own. Of
several that are there, the first counts.
https://github.com/open-telemetry/semantic-conventions-genai
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
"""

from collections.abc import Mapping
from typing import Any

CALL_ID = "llm_audit.call_id"  # of spans that were made of records

# What a span is about, see `kinds`.
OPERATION = ("gen_ai.operation.name",)
SPAN_KIND = (
    *("openinference.span.kind", "langfuse.observation.type", "traceloop.span.kind"),
    "llm.request.type",  # older Traceloop
)

PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
REQUEST_MODEL = ("gen_ai.request.model", "llm.request.model_name")
RESPONSE_MODEL = ("gen_ai.response.model", "llm.response.model_name")
ANY_MODEL = (  # that of the request until there is a response
    *("llm.model_name", "embedding.model_name", "langfuse.observation.model.name"),
    *("model_name", "ai.model.id"),
)
SESSION = (
    *("gen_ai.conversation.id", "session.id", "langfuse.session.id"),
    "traceloop.association.properties.session_id",
)
USER = (
    *("user.id", "enduser.id", "gen_ai.user", "llm.user", "langfuse.user.id"),
    "traceloop.association.properties.user_id",
)
TAGS = ("tag.tags", "langfuse.trace.tags", "logfire.tags")

# The request: of JSON texts, what they hold.
REQUEST_BODY = ("input.value", "request_data")  # perhaps as the API had it
MESSAGES = ("gen_ai.input.messages", "gen_ai.request.messages", "langfuse.observation.input")
NUMBERED_MESSAGES = ("llm.input_messages", "gen_ai.prompt", "llm.prompts")
SYSTEM_PROMPT = ("gen_ai.system_instructions",)
TOOLS = ("gen_ai.tool.definitions", "gen_ai.request.available_tools")
NUMBERED_TOOLS = ("llm.tools", "llm.request.functions")
EMBEDDED = ("gen_ai.embeddings.input",)
NUMBERED_EMBEDDED = ("embedding.embeddings",)
PARAMETERS = (
    *("llm.invocation_parameters", "embedding.invocation_parameters"),
    "langfuse.observation.model.parameters",
)
# What begins so is a parameter of the request, under the rest of its name.
PARAMETER_PREFIXES = ("gen_ai.request.", "gen_ai.openai.request.", "llm.request.")
PARAMETERS_RENAMED = {
    "choice.count": "n",
    "structured_output_schema": "response_format",
    "previous_response.id": "previous_response_id",
    "reasoning.level": "reasoning_effort",
}
OTHER_PARAMETERS = {
    "llm.top_k": "top_k",
    "llm.frequency_penalty": "frequency_penalty",
    "llm.presence_penalty": "presence_penalty",
    "llm.chat.stop_sequences": "stop_sequences",
    "gen_ai.output.type": "output_type",
}
STREAMED = (
    *("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming"),
    "gen_ai.response.streaming",
)

# The response.
RESPONSE_BODY = ("output.value",)  # perhaps as the API had it
OUTPUT = ("gen_ai.output.messages", "langfuse.observation.output")
NUMBERED_OUTPUT = ("llm.output_messages", "gen_ai.completion", "llm.completions", "llm.choices")
OUTPUT_TEXT = ("gen_ai.response.text",)
OUTPUT_CALLS = ("gen_ai.response.tool_calls",)
RESPONSE_DATA = ("response_data",)  # older logfire: {message, usage}
RESPONSE_ID = ("gen_ai.response.id",)
FINISH = (
    *("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason"),
    *("anthropic.message.stop_reason", "gen_ai.response.stop_reason", "llm.response.stop_reason"),
    *("llm.response.finish_reason", "langfuse.observation.metadata.finish_reason"),
)
# In seconds, unless the name says otherwise.
FIRST_CHUNK = (
    *("gen_ai.response.time_to_first_chunk", "gen_ai.response.time_to_first_token"),
    "gen_ai.client.operation.time_to_first_chunk",
)
FIRST_CHUNK_AT = ("langfuse.observation.completion_start_time",)
FIRST_CHUNK_EVENTS = ("First Token Stream Event", "gen_ai.content.completion.chunk")

USAGE = ("gen_ai.usage.raw", "langfuse.observation.usage_details")  # as reported
COUNTS: Mapping[str, tuple[str, ...]] = {
    "prompt_tokens": (
        *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
        "llm.usage.prompt_tokens",
    ),
    "completion_tokens": (
        *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        *("llm.token_count.completion", "llm.usage.completion_tokens"),
    ),
    "total_tokens": (
        *("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    ),
    "cached_tokens": (
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("llm.token_count.prompt_details.cache_read", "gen_ai.usage.input_tokens.cached"),
        *("llm.token_count.prompt_details.cache_input", "gen_ai.usage.details.cache_read_tokens"),
    ),
    "cache_write_tokens": (
        *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        *("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.input_tokens.cache_write"),
        *("llm.token_count.prompt_details.cache_write",),
        "gen_ai.usage.details.cache_write_tokens",
    ),
    "reasoning_tokens": (
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        *("gen_ai.usage.details.reasoning_tokens", "llm.usage.reasoning_tokens"),
        *("llm.token_count.completion_details.reasoning", "gen_ai.usage.output_tokens.reasoning"),
    ),
}
COST = ("llm.cost.total", "operation.cost", "gen_ai.usage.cost")
COST_DETAILS = ("langfuse.observation.cost_details",)  # {input, output, total}

ERROR_TYPE = ("error.type",)
ERROR_MESSAGE = ("langfuse.observation.status_message", "error.message")
HTTP_STATUS = ("http.response.status_code", "http.status_code")

# What agents and tools were given and gave back.
TOOL_NAME = ("gen_ai.tool.name", "tool.name", "traceloop.entity.name")
AGENT_NAME = (
    *("gen_ai.agent.name", "agent.name", "agent_name", "gen_ai.workflow.name"),
    *("traceloop.entity.name", "graph.node.name"),
)
STEP_INPUT = (
    *("gen_ai.tool.call.arguments", "gen_ai.tool.input", "input.value", "tool.parameters"),
    *("traceloop.entity.input", "langfuse.observation.input"),
)
STEP_OUTPUT = (
    *("gen_ai.tool.call.result", "gen_ai.tool.output", "output.value", "final_result"),
    *("traceloop.entity.output", "langfuse.observation.output"),
)

# Read by what they begin with, or of use to nobody who reads the call.
_READ_PREFIXES = (
    *(f"{name}." for name in (*NUMBERED_MESSAGES, *NUMBERED_TOOLS, *NUMBERED_OUTPUT)),
    *(f"{name}." for name in NUMBERED_EMBEDDED),
    *PARAMETER_PREFIXES,
    *("llm.token_count.", "gen_ai.usage.", "llm.usage."),
    *("logfire.", "langfuse.internal.", "code.", "thread."),
    *(
        "input.mime_type",
        "output.mime_type",
        "model_request_parameters",
        "pydantic_ai.all_messages",
    ),
)
_READ = frozenset(
    name
    for names in (
        *(OPERATION, SPAN_KIND, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, ANY_MODEL, SESSION, USER),
        *(REQUEST_BODY, MESSAGES, SYSTEM_PROMPT, TOOLS, EMBEDDED, PARAMETERS, STREAMED),
        *(tuple(OTHER_PARAMETERS), RESPONSE_BODY, OUTPUT, OUTPUT_TEXT, OUTPUT_CALLS, RESPONSE_DATA),
        *(RESPONSE_ID, FINISH, FIRST_CHUNK, FIRST_CHUNK_AT, USAGE, COST, COST_DETAILS),
        *(ERROR_TYPE, ERROR_MESSAGE, STEP_INPUT, STEP_OUTPUT, *COUNTS.values()),
    )
    for name in names
)

# Other names of providers, and that under which they are recorded.
PROVIDERS = {
    **dict.fromkeys(("aws.bedrock", "aws_bedrock", "aws"), "bedrock"),
    **dict.fromkeys(("gcp.gemini", "gcp.gen_ai", "gemini", "google_genai", "google-gla"), "google"),
    **dict.fromkeys(("gcp.vertex_ai", "vertex_ai", "vertexai", "google-vertex"), "vertex"),
    **dict.fromkeys(("azure.ai.openai", "azure.ai.inference", "az.ai.openai"), "azure"),
    **dict.fromkeys(("mistral_ai", "mistralai"), "mistral"),
    **dict.fromkeys(("x_ai", "xai"), "xai"),
    **dict.fromkeys(("together_ai",), "together"),
    **dict.fromkeys(("ibm.watsonx.ai",), "watsonx"),
}
# The same the other way round, for spans that are made of records.
PROVIDERS_IN_SPANS = {
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "watsonx": "ibm.watsonx.ai",
}


def first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Return what the first of these attributes holds that is there; None if none is."""
    for name in names:
        value = attributes.get(name)
        if value is not None and value != "":
            return value
    return None


def unread(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that no field of a call is read from."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in _READ and not name.startswith(_READ_PREFIXES)
    }
