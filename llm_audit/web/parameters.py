"""What stands in the address of a page: its parameters, and which of them are filters."""

from functools import cached_property

from llm_audit.errors import UsageError
from llm_audit.queries.filters import LATENCIES, CallFilters

ZONE = "tz"  # the parameter
DATES = {"since": "start_date", "until": "end_date"}  # as links say it, and as filters do
NOT = "not."  # before the name of a filter, for calls that do not have the value
FIELDS = tuple(
    name for name in CallFilters.__annotations__ if name not in (*DATES.values(), "excluding")
)
PROMPT = "prompt_of"
EXCLUDABLE = tuple(name for name in FIELDS if name not in ("missing", PROMPT, *LATENCIES))
FILTERS = (*FIELDS, *(NOT + name for name in EXCLUDABLE), *DATES)


class Parameters:
    """The parameters of a request, each with its values.

    Attributes:
        given: Name and value of each in order; those that are empty are left out.
    """

    given: list[tuple[str, str]]

    def one(self, name: str) -> str | None:
        """Return the value of a parameter, the last one; None if it is not given, or empty."""
        return dict(self.given).get(name)

    def required(self, name: str, what: str) -> str:
        """Return the value of a parameter without which there is nothing to show.

        Args:
            name: Of the parameter.
            what: What it names, in a word.

        Raises:
            UsageError: It is not given.
        """
        given = self.one(name)
        if given is None:
            raise UsageError(f"Which {what}? Name it with ?{name}=.")
        return given

    def all(self, name: str) -> list[str]:
        """Return every value of a parameter."""
        return [value for key, value in self.given if key == name]

    def whole(self, name: str, default: int, largest: int) -> int:
        """Return a whole number from 1.

        Raises:
            UsageError: It is none, or too large.
        """
        text = self.one(name)
        if text is None:
            return default
        if not text.isdecimal() or not 1 <= int(text[:10]) <= largest:
            raise UsageError(f"{name} has to be a whole number from 1 to {largest:,}.")
        return int(text[:10])

    def count(self, name: str) -> int:
        """Return a whole number from 0, which it is if nothing is given.

        Raises:
            UsageError: It is none.
        """
        text = self.one(name) or "0"
        if not text.isdecimal():
            raise UsageError(f"{name} has to be a whole number.")
        return int(text[:10])

    @cached_property
    def given_filters(self) -> list[tuple[str, str]]:
        """The filters that are given, each value apart; no dates."""
        return [pair for pair in self.given if pair[0] in FILTERS and pair[0] not in DATES]
