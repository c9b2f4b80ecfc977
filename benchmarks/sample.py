"""The call that every benchmark records: about 3.3 KB of chat with tools, as an app sends it."""

from typing import Any

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": f"Question {n}: " + "what do customers say about shipping? " * 7}
    for n in range(8)
]
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_competitor_data",
            "description": "Get competitor analysis data",
            "parameters": {"type": "object", "properties": {"company": {"type": "string"}}},
        },
    }
]
REQUEST: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "messages": MESSAGES,
    "tools": TOOLS,
    "system_prompt": "You are a product analysis AI assistant.",
    "session_id": "0190f7a2-0000-7000-8000-000000000001",
    "user_id": "0190f7a2-0000-7000-8000-000000000002",
    "tags": ["rag", "bench"],
    "temperature": 0.7,
    "max_tokens": 500,
}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Mostly that it is slow. " * 12}
USAGE: dict[str, int] = {"prompt_tokens": 812, "completion_tokens": 73, "total_tokens": 885}
