"""What customers wrote: the data that the demo's app and tasks ask the provider about."""

from collections.abc import Mapping

from llm_audit import audited

REVIEWS: Mapping[str, str] = {
    "review-1": "We love the macros: answering is fast now.",
    "review-2": "Reports are missing everything we need.",
    "review-3": "It does what it says.",
    "review-4": "Great support, easy to set up.",
    "review-5": "Too expensive for a team of three, and the voice channel is missing.",
}


def get_review(review_id: str) -> str:
    """Return one review.

    Args:
        review_id: A key of `REVIEWS`.
    """
    return REVIEWS[review_id]


@audited
def search_reviews(question: str) -> list[str]:
    """Return the reviews that share a word with a question: the demo's vector search.

    Args:
        question: What the user asks.
    """
    words = {word.strip("?.,").lower() for word in question.split()}
    return [text for text in REVIEWS.values() if words & set(text.lower().rstrip(".").split())]
