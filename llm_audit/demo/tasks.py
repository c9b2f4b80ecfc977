"""The demo's Celery app: what `make demo` and docker-compose.yml run in a worker.

Everything comes from the environment: CELERY_BROKER_URL, CELERY_RESULT_BACKEND, LLM_AUDIT_* and
the OpenAI client's own OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from functools import cache
from typing import Any

from celery import Celery
from openai import OpenAI, RateLimitError

import celery_hooks
from llm_audit import LLMCallTypeEnum, LLMLogger, log_sentiment_analysis
from llm_audit.demo.reviews import REVIEWS, get_review

SENTIMENT_MODEL = "gpt-3.5-turbo"
SUMMARY_MODEL = "gpt-4"

app = Celery("llm_audit.demo")
app.conf.broker_connection_retry_on_startup = True
celery_hooks.install(app)


@cache
def llm_client() -> OpenAI:
    """Return this process's client, made at first use and so never shared over a fork."""
    return OpenAI(max_retries=0)


@app.task
def analyze_review_sentiment(review_id: str) -> str:
    """Ask for the sentiment of a review: positive, negative or neutral."""
    review = get_review(review_id)

    log_id = log_sentiment_analysis(
        text=review,
        model=SENTIMENT_MODEL,
        review_id=review_id,
        provider="openrouter",
        task_id=analyze_review_sentiment.request.id,
    )
    try:
        result = llm_client().chat.completions.create(
            model=SENTIMENT_MODEL,
            messages=[
                {
                    "role": "system",
                    "content": "Analyze sentiment. Respond with: positive, negative, or neutral.",
                },
                {"role": "user", "content": review},
            ],
        )
        sentiment = (result.choices[0].message.content or "").strip().lower()
        LLMLogger.complete(
            log_id,
            response_message={"role": "assistant", "content": sentiment},
            tokens=result.usage.__dict__,
            estimated_cost=result.usage.total_tokens * 0.000001 if result.usage else None,
        )
    except Exception as e:
        LLMLogger.fail(log_id, str(e))
        raise
    return sentiment


@app.task(autoretry_for=(RateLimitError,), max_retries=1, default_retry_delay=0)
def summarize_reviews(topic: str) -> str | None:
    """Ask what customers say about a topic; once more when the provider is too busy."""
    question = f"Summarize what customers say about {topic}:"
    messages: list[Any] = [{"role": "user", "content": "\n".join([question, *REVIEWS.values()])}]

    with LLMLogger.log_call(
        call_type=LLMCallTypeEnum.SUMMARIZATION,
        provider="openrouter",
        model=SUMMARY_MODEL,
        messages=messages,
    ) as log_id:
        response = llm_client().chat.completions.create(model=SUMMARY_MODEL, messages=messages)
        LLMLogger.complete(log_id, response=response)
    return response.choices[0].message.content
