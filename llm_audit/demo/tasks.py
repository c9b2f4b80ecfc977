"""The demo's Celery app: what `make demo` and docker-compose.yml run in a worker.

Everything comes from the environment: CELERY_BROKER_URL, CELERY_RESULT_BACKEND, LLM_AUDIT_* and
the OpenAI client's own OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from functools import cache
from typing import Any

from celery import Celery
from openai import OpenAI, RateLimitError

import celery_hooks
from llm_audit import LLMCallTypeEnum, audit_context
from llm_audit.demo.reviews import REVIEWS, get_review

app = Celery("llm_audit.demo")
app.conf.broker_connection_retry_on_startup = True
celery_hooks.install(app, instrument=True)


@cache
def llm_client() -> OpenAI:
    """Return this process's client, made at first use and so never shared over a fork."""
    return OpenAI(max_retries=0)


def ask(model: str, *messages: Any) -> str:
    """Ask a model; the call is recorded by itself, with its task and what the context says."""
    response = llm_client().chat.completions.create(model=model, messages=list(messages))
    return response.choices[0].message.content or ""


@app.task
def analyze_review_sentiment(review_id: str) -> str:
    """Ask for the sentiment of a review: positive, negative or neutral."""
    with audit_context(call_type=LLMCallTypeEnum.SENTIMENT_ANALYSIS, review_id=review_id):
        sentiment = ask(
            "gpt-3.5-turbo",
            {
                "role": "system",
                "content": "Analyze sentiment. Respond with: positive, negative, or neutral.",
            },
            {"role": "user", "content": get_review(review_id)},
        )
    return sentiment.strip().lower()


@app.task(bind=True, autoretry_for=(RateLimitError,), max_retries=1, default_retry_delay=0)
def write_report(self: Any, sentiments: list[str]) -> str:
    """Ask for an outline, then for the report; when the provider is too busy, a smaller model."""
    model = "gpt-4o-mini" if self.request.retries else "gpt-4"
    with audit_context(call_type=LLMCallTypeEnum.SUMMARIZATION, tags=["weekly"]):
        question = f"Outline a report of reviews that are {', '.join(sentiments)}."
        outline = ask("gpt-4", {"role": "user", "content": question})
        return ask(
            model,
            {"role": "user", "content": question},
            {"role": "assistant", "content": outline},
            {"role": "user", "content": "Write the report. [429 gpt-4]"},
        )


@app.task(autoretry_for=(RateLimitError,), max_retries=1, default_retry_delay=0)
@audit_context(call_type=LLMCallTypeEnum.SUMMARIZATION)
def summarize_reviews(topic: str) -> str:
    """Ask what customers say about a topic; once more when the provider is too busy."""
    question = f"Summarize what customers say about {topic}:"
    return ask("gpt-4", {"role": "user", "content": "\n".join([question, *REVIEWS.values()])})
