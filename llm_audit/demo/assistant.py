"""The demo's async app: a RAG pipeline, and a tool call with what is made of its result."""

import json
import uuid
from typing import Any

from openai import AsyncOpenAI

from llm_audit import LLMCallTypeEnum, LLMLogger
from llm_audit.demo.reviews import search_reviews

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_competitor_data",
            "description": "Get competitor analysis data",
            "parameters": {
                "type": "object",
                "properties": {
                    "company_name": {"type": "string"},
                    "competitors": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    }
]


def get_competitor_data(company_name: str, competitors: list[str]) -> dict[str, Any]:
    """Answer the tool call.

    Args:
        company_name: Who is compared.
        competitors: With whom.
    """
    features = {"Zendesk": ["voice", "reports"], "Freshdesk": ["field service"]}
    return {
        "company": company_name,
        "competitors": [{"name": name, "features": features.get(name, [])} for name in competitors],
    }


async def rag_pipeline(
    llm_client: AsyncOpenAI, user_question: str, company_id: str, user_id: str
) -> str:
    """Classify a question, look for reviews, and answer from them.

    Args:
        llm_client: Asks the provider.
        user_question: What the user asks.
        company_id: The tenant.
        user_id: Who asks.

    Returns:
        The id of the trace, to debug the whole pipeline later.
    """
    trace_id = str(uuid.uuid4())

    # Step 1: query understanding
    system_prompt = "Classify into: product_gap, competitor, feature, support"
    messages: list[Any] = [{"role": "user", "content": f"Classify this question: {user_question}"}]
    step1_log = await LLMLogger.start(
        call_type=LLMCallTypeEnum.RAG_QUERY,
        provider="openrouter",
        model="gpt-3.5-turbo",
        messages=messages,
        system_prompt=system_prompt,
        trace_id=trace_id,
        company_id=company_id,
        tags=["rag", "classification"],
    )
    response = await llm_client.chat.completions.create(
        model="gpt-3.5-turbo", messages=[{"role": "system", "content": system_prompt}, *messages]
    )
    query_type = response.choices[0].message.content
    await LLMLogger.complete(
        step1_log,
        response_message={"role": "assistant", "content": query_type},
        tokens=response.usage.__dict__,
    )

    # Step 2: retrieve relevant reviews (no LLM call)
    relevant_reviews = search_reviews(user_question)

    # Step 3: generate the answer
    system_prompt = "You are a product analyst. Answer based on the provided reviews."
    context = "\n".join(relevant_reviews)
    question = f"Question: {user_question}\n\nContext:\n{context}\n\nAnswer:"
    messages = [{"role": "user", "content": question}]
    step3_log = await LLMLogger.start(
        call_type=LLMCallTypeEnum.RAG_SYNTHESIS,
        provider="openrouter",
        model="gpt-4",
        messages=messages,
        system_prompt=system_prompt,
        trace_id=trace_id,
        user_id=user_id,
        company_id=company_id,
        parent_call_id=step1_log,
        metadata={"review_count": len(relevant_reviews), "query_type": query_type},
    )
    response = await llm_client.chat.completions.create(
        model="gpt-4", messages=[{"role": "system", "content": system_prompt}, *messages]
    )
    await LLMLogger.complete(
        step3_log,
        response_message={"role": "assistant", "content": response.choices[0].message.content},
        tokens=response.usage.__dict__,
    )
    return trace_id


async def compare_competitors(llm_client: AsyncOpenAI, company_id: str) -> str:
    """Let the model ask for a tool, run it, and let the model answer from its result.

    Args:
        llm_client: Asks the provider.
        company_id: The tenant.

    Returns:
        The id of the first call.
    """
    messages: list[Any] = [{"role": "user", "content": "Compare Gorgias with its top competitors"}]
    original_call_log_id = await LLMLogger.start(
        call_type=LLMCallTypeEnum.RAG_QUERY,
        provider="openrouter",
        model="gpt-4",
        messages=messages,
        system_prompt="You are a competitive analysis AI.",
        tools=TOOLS,
        tool_choice="auto",
        company_id=company_id,
    )
    response = await llm_client.chat.completions.create(
        model="gpt-4", messages=messages, tools=TOOLS, tool_choice="auto"
    )
    await LLMLogger.complete(original_call_log_id, response=response)

    answer = response.choices[0].message
    messages = [*messages, answer.model_dump(exclude_none=True)]
    for tool_call in answer.tool_calls or ():
        if tool_call.type == "function":
            result = get_competitor_data(**json.loads(tool_call.function.arguments))
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": tool_call.id,
                    "name": tool_call.function.name,
                    "content": json.dumps(result),
                }
            )

    log_id = await LLMLogger.start(
        call_type=LLMCallTypeEnum.RAG_SYNTHESIS,
        provider="openrouter",
        model="gpt-4",
        messages=messages,
        system_prompt="Synthesize competitor analysis.",
        company_id=company_id,
        parent_call_id=original_call_log_id,
    )
    response = await llm_client.chat.completions.create(model="gpt-4", messages=messages)
    await LLMLogger.complete(
        log_id,
        response_message={"role": "assistant", "content": response.choices[0].message.content},
        tokens=response.usage.__dict__,
        finish_reason="stop",
    )
    return original_call_log_id
