"""What a call was told before anything else: where that stands, and how the same is found again."""

from dataclasses import dataclass
from typing import Any

_ROLES = ("system", "developer")  # of a first message that holds it


@dataclass(frozen=True)
class Instructions:
    """What calls were told, for the filter `prompt_of` where no call is at hand that was.

    Attributes:
        value: Of `system_prompt`, or the content of a first message that is the system's: text or
            blocks; None for calls that were told nothing.
    """

    value: Any

    def __str__(self) -> str:
        return "none" if self.value is None else f"{str(self.value)[:40]!r} …"


def instructions() -> dict[str, Any]:
    """Return the expression for what a call was told, null where that is nothing."""
    messages: dict[str, Any] = {"$cond": [{"$isArray": "$messages"}, "$messages", []]}
    of_first = {"$cond": [{"$in": ["$$first.role", [*_ROLES]]}, "$$first.content", None]}
    return {
        "$let": {
            "vars": {"first": {"$first": messages}},
            "in": {
                "$cond": [
                    {"$in": [{"$ifNull": ["$system_prompt", None]}, [None, "", []]]},
                    {"$ifNull": [of_first, None]},
                    "$system_prompt",
                ]
            },
        }
    }


def told(given: Instructions) -> dict[str, Any]:
    """Return the condition for calls that were told this, and exactly this."""
    return {"$expr": {"$eq": [instructions(), {"$literal": given.value}]}}
