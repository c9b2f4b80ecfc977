"""The demo's async app: a RAG pipeline, and a tool call with what is made of its result.

Its calls are recorded by themselves; what is said here is what they are for.
"""

import json
from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI

from llm_audit import LLMCallTypeEnum, audit_context, audited
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


@audited
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


@audited(call_type=LLMCallTypeEnum.AGENT)
async def rag_pipeline(llm_client: AsyncOpenAI, user_question: str) -> str:
    """Classify a question, look for reviews, and answer from them.

    Args:
        llm_client: Asks the provider.
        user_question: What the user asks.
    """
    # Step 1: query understanding
    with audit_context(call_type=LLMCallTypeEnum.RAG_QUERY, tags=["classification"]):
        query_type = await _ask(
            *(llm_client, "gpt-3.5-turbo"),
            "Classify into: product_gap, competitor, feature, support",
            f"Classify this question: {user_question}",
        )

    # Step 2: retrieve relevant reviews (no LLM call)
    relevant_reviews = search_reviews(user_question)

    # Step 3: generate the answer
    found = {"review_count": len(relevant_reviews), "query_type": query_type}
    context = "\n".join(relevant_reviews)
    with audit_context(call_type=LLMCallTypeEnum.RAG_SYNTHESIS, metadata=found):
        return await _ask(
            *(llm_client, "gpt-4"),
            "You are a product analyst. Answer based on the provided reviews.",
            f"Question: {user_question}\n\nContext:\n{context}\n\nAnswer:",
        )


async def _ask(llm_client: AsyncOpenAI, model: str, system_prompt: str, question: str) -> str:
    response = await llm_client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": system_prompt},
            {"role": "user", "content": question},
        ],
    )
    return response.choices[0].message.content or ""


async def conversation(llm_client: AsyncOpenAI, questions: Sequence[str]) -> None:
    """Ask one question after the other, each with all that was said before; answers are streamed.

    Args:
        llm_client: Asks the provider.
        questions: What the user asks.
    """
    messages: list[Any] = [{"role": "system", "content": "You are a product analyst. Be brief."}]
    for question in questions:
        messages = [*messages, {"role": "user", "content": question}]
        stream = await llm_client.chat.completions.create(
            model="gpt-4o-mini",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        messages = [*messages, {"role": "assistant", "content": "".join(pieces)}]


@audited(call_type=LLMCallTypeEnum.AGENT)
async def compare_competitors(llm_client: AsyncOpenAI) -> str:
    """Let the model ask for a tool, run it, and let the model answer from its result.

    Args:
        llm_client: Asks the provider.
    """
    messages: list[Any] = [{"role": "user", "content": "Compare Gorgias with its top competitors"}]
    with audit_context(call_type=LLMCallTypeEnum.RAG_QUERY):
        response = await llm_client.chat.completions.create(
            model="gpt-4", messages=messages, tools=TOOLS, tool_choice="auto"
        )
    answer = response.choices[0].message
    messages = [*messages, answer.model_dump(exclude_none=True)]
    for tool_call in answer.tool_calls or ():
        if tool_call.type == "function":
            result = get_competitor_data(**json.loads(tool_call.function.arguments))
            messages.append(
                {"role": "tool", "tool_call_id": tool_call.id, "content": json.dumps(result)}
            )
    with audit_context(call_type=LLMCallTypeEnum.RAG_SYNTHESIS):
        response = await llm_client.chat.completions.create(model="gpt-4", messages=messages)
    return response.choices[0].message.content or ""
