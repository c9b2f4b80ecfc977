"""Typed helpers: start a call of one kind with its messages built, a few lines each."""

from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.encoding import safe_text
from llm_audit.logger import LLMLogger
from llm_audit.references import CallReference

SENTIMENT_PROMPT = "Analyze sentiment. Respond with: positive, negative, or neutral."


def _ask(
    call_type: LLMCallTypeEnum,
    text: str,
    model: str,
    instruction: str | None,
    common: dict[str, Any],
) -> CallReference:
    """Start a call whose one user message is a text, under an instruction as system prompt."""
    common.setdefault("provider", "openrouter")
    common.setdefault("system_prompt", instruction)
    messages = [{"role": "user", "content": text}]
    return _start(common, call_type=call_type, model=model, messages=messages)


def _start(common: dict[str, Any], **built: Any) -> CallReference:
    """Start a call with what a helper has built, unless its caller gives the same."""
    return LLMLogger.start(**(built | common))


def _joined(separator: str, parts: Any) -> str:
    """Join texts as far as they are a list of them: nothing may raise before a call is recorded."""
    if isinstance(parts, list | tuple):
        return separator.join(safe_text.text(part) for part in parts)
    return safe_text.text(parts)


def log_sentiment_analysis(
    text: str,
    model: str,
    review_id: object = None,
    provider: str = "openrouter",
    task_id: object = None,
    **common: Any,
) -> CallReference:
    """Start a SENTIMENT_ANALYSIS call.

    Args:
        text: What is analysed.
        model: As the request names it.
        review_id: The review that the text comes from.
        provider: Who is asked.
        task_id: The Celery task; known by itself where `celery_hooks` is installed.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    common |= {"review_id": review_id, "provider": provider, "task_id": task_id}
    return _ask(LLMCallTypeEnum.SENTIMENT_ANALYSIS, text, model, SENTIMENT_PROMPT, common)


def log_chat(messages: list[Any], model: str, **common: Any) -> CallReference:
    """Start a CHAT call.

    Args:
        messages: The conversation so far, as the API speaks it.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes; provider is "openrouter" by default.

    Returns:
        The call's id; await it or not.
    """
    common.setdefault("provider", "openrouter")
    return _start(common, call_type=LLMCallTypeEnum.CHAT, model=model, messages=messages)


def log_rag_query(question: str, model: str, **common: Any) -> CallReference:
    """Start a RAG_QUERY call: understand a question before anything is retrieved.

    Args:
        question: What the user asked.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    return _ask(LLMCallTypeEnum.RAG_QUERY, question, model, None, common)


def log_rag_synthesis(
    question: str, documents: list[str], model: str, **common: Any
) -> CallReference:
    """Start a RAG_SYNTHESIS call: answer a question from what was retrieved.

    Args:
        question: What the user asked.
        documents: The texts that were retrieved.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    retrieved = _joined("\n", documents)
    text = f"Question: {question}\n\nContext:\n{retrieved}\n\nAnswer:"
    return _ask(LLMCallTypeEnum.RAG_SYNTHESIS, text, model, None, common)


def log_classification(text: str, labels: list[str], model: str, **common: Any) -> CallReference:
    """Start a CLASSIFICATION call.

    Args:
        text: What is classified.
        labels: The classes to choose from.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    instruction = f"Classify into: {_joined(', ', labels)}"
    return _ask(LLMCallTypeEnum.CLASSIFICATION, text, model, instruction, common)


def log_summarization(text: str, model: str, **common: Any) -> CallReference:
    """Start a SUMMARIZATION call.

    Args:
        text: What is summarised.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    return _ask(LLMCallTypeEnum.SUMMARIZATION, text, model, "Summarize the text.", common)


def log_extraction(text: str, fields: list[str], model: str, **common: Any) -> CallReference:
    """Start an EXTRACTION call.

    Args:
        text: Where to extract from.
        fields: What to extract, by name.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    instruction = f"Extract: {_joined(', ', fields)}"
    return _ask(LLMCallTypeEnum.EXTRACTION, text, model, instruction, common)


def log_translation(text: str, target_language: str, model: str, **common: Any) -> CallReference:
    """Start a TRANSLATION call.

    Args:
        text: What is translated.
        target_language: Into what.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    instruction = f"Translate into {target_language}."
    return _ask(LLMCallTypeEnum.TRANSLATION, text, model, instruction, common)


def _give_input(
    call_type: LLMCallTypeEnum, given: Any, model: str, common: dict[str, Any]
) -> CallReference:
    common.setdefault("provider", "openrouter")
    return _start(common, call_type=call_type, model=model, input=given)


def log_embedding(input: Any, model: str, **common: Any) -> CallReference:
    """Start an EMBEDDING call.

    Args:
        input: A text or a list of them, as the API takes it.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    return _give_input(LLMCallTypeEnum.EMBEDDING, input, model, common)


def log_moderation(input: Any, model: str, **common: Any) -> CallReference:
    """Start a MODERATION call.

    Args:
        input: A text or a list of parts, as the API takes it.
        model: As the request names it.
        **common: Anything else that `LLMLogger.start` takes.

    Returns:
        The call's id; await it or not.
    """
    return _give_input(LLMCallTypeEnum.MODERATION, input, model, common)
