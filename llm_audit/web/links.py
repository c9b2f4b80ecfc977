"""How links go on from a request: to the same calls or other ones, on this page or another."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from llm_audit.call import FAILURE_STATUSES
from llm_audit.web.parameters import FILTERS, NOT, ZONE, Parameters

_LONGEST_VALUE = 1_024  # characters: twice what is recorded; servers refuse addresses of 8 to 64 KB


class Links(Parameters):
    """The addresses that a page leads to.

    Attributes:
        root: What stands before the path of each.
        page: The name of this one; empty for the first one.
        opens_with: Since when its calls are, where nothing says so.
    """

    root: str
    page: str
    opens_with: str | None

    def link(self, page: str, **parameters: Any) -> str:
        """Return the address of a page of ours.

        Args:
            page: Its name; empty for the first one.
            **parameters: Its own; those that are None are left out. The time zone goes on.
        """
        zone = [(ZONE, zone)] if (zone := self.one(ZONE)) else []
        return self._address(page, [*_pairs(parameters), *zone])

    def same(self, page: str | None = None, **changes: Any) -> str:
        """Return the address of this page, or another one, for the same calls, but for changes.

        Another page may open with another stretch of time: it is told which one these are of.

        Args:
            page: Its name; None for this one.
            **changes: New values of parameters; None takes one away.
        """
        kept = self.given if page is None else [p for p in self.given if p[0] in (*FILTERS, ZONE)]
        rest = [(name, value) for name, value in kept if name not in changes and name != "after"]
        if page not in (None, self.page) and self.opens_with and "since" not in changes:
            rest.append(("since", self.opens_with))
        return self._address(self.page if page is None else page, [*rest, *_pairs(changes)])

    def among(self, name: str, value: object, page: str = "calls", **changes: Any) -> str:
        """Return the address of the same calls, of those that have this value, or none, alone.

        Args:
            name: Of the filter.
            value: That calls have; None for those that have none.
            page: Which page is to show them.
            **changes: New values of parameters.
        """
        if value is None:
            missing = list(dict.fromkeys([*self.all("missing"), name]))
            return self.same(page, missing=missing, **changes)
        if name == "tags":  # of which a call has to carry all that are given
            value = list(dict.fromkeys([*self.all(name), value]))
        return self.same(page, **{name: value, NOT + name: None}, **changes)

    @property
    def failed(self) -> list[str]:
        """The statuses of failures; where some statuses are asked for, those among them."""
        asked_for = {status.upper() for status in self.all("status")}
        return [one for one in sorted(FAILURE_STATUSES) if not asked_for or one in asked_for]

    def during(self, spans: Iterable[tuple[datetime, datetime]], **changes: Any) -> list[str]:
        """Return the address of the same calls, but for changes, for each stretch of time."""
        edges = [(start.isoformat(), end.isoformat()) for start, end in spans]
        return [self.same("calls", since=start, until=end, **changes) for start, end in edges]

    def but(self, name: str, value: object) -> str:
        """Return the address of the same calls, without those that have this value."""
        excluded = [*self.all(NOT + name), value]
        return self.same("calls", **{NOT + name: list(dict.fromkeys(excluded))})

    def older(self, ids: Sequence[str | None], limit: int) -> str | None:
        """Return the address of the lines that follow some, if there may be any.

        Args:
            ids: Of these lines, by which they are ordered.
            limit: How many were asked for.
        """
        return self.same(after=ids[-1]) if len(ids) == limit else None

    def without(self, name: str, value: object) -> str:
        """Return the address of this page without one value of a filter."""
        rest = [pair for pair in self.given if pair != (name, value) and pair[0] != "after"]
        return self._address(self.page, rest)

    def part(self, name: str, **more: Any) -> str:
        """Return the address of a part of this page, for the same calls.

        Args:
            name: The part's.
            **more: Parameters of its own.
        """
        kept = [pair for pair in self.given if pair[0] not in more]
        return self._address(f"part/{self.page or 'overview'}/{name}", [*kept, *_pairs(more)])

    def page_again(self, **changes: Any) -> str:
        """Return the address of the page that this is a part of, as it was asked for.

        Args:
            **changes: New values of parameters; None takes one away.
        """
        own = ("from", "shown", "after", *changes)
        kept = [pair for pair in self.given if pair[0] not in own]
        return self._address(self.page, [*kept, *_pairs(changes)])

    def call_link(self, call_id: str) -> str:
        """Return the address of a call; from a list, it knows the list that it came from."""
        kept = [pair for pair in self.given if pair[0] in (*FILTERS, ZONE)]
        return self._address("call", [("id", call_id), *kept])

    def over_the_same_time(self, page: str) -> str:
        """Return the address of a page for the same stretch of time."""
        return self.link(page, since=self.one("since"), until=self.one("until"))

    def _address(self, page: str, parameters: Iterable[tuple[str, str]]) -> str:
        pairs = list(parameters)
        if any(len(value) > _LONGEST_VALUE and (n, value) not in self.given for n, value in pairs):
            page, pairs = "help", []  # which says so
        query = urlencode(pairs)
        return f"{self.root}/{page}" + (f"?{query}" if query else "")


def _pairs(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(one))
        for name, value in parameters.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one is not None
    ]
