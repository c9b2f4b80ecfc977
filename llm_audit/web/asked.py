"""One request: which calls it is about, in whose time zone, and how links go on from it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic_ns
from typing import Any, cast
from urllib.parse import quote, unquote, urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request

from llm_audit.errors import UsageError
from llm_audit.ids import EPOCH
from llm_audit.queries.filters import LATENCIES, CallFilters, beginning
from llm_audit.queries.grouping import checked_timezone
from llm_audit.queries.instructions import Instructions
from llm_audit.queries.lookup import with_instructions
from llm_audit.queries.repository import LLMCallRepository
from llm_audit.queries.times import local_timezone, parse_span, parse_time

ZONE = "tz"  # the parameter
ZONE_COOKIE, THEME_COOKIE = "llm_audit_tz", "llm_audit_theme"  # viewer.js sets them
DATES = {"since": "start_date", "until": "end_date"}  # as links say it, and as filters do
NOT = "not."  # before the name of a filter, for calls that do not have the value
FIELDS = tuple(
    name for name in CallFilters.__annotations__ if name not in (*DATES.values(), "excluding")
)
PROMPT = "prompt_of"
EXCLUDABLE = tuple(name for name in FIELDS if name not in ("missing", PROMPT, *LATENCIES))
FILTERS = (*FIELDS, *(NOT + name for name in EXCLUDABLE), *DATES)


_SHORTEST = timedelta(milliseconds=1)  # of a stretch of time
THEMES = ("light", "dark")
NAVIGATION = (
    ("", "Overview"),
    ("calls", "Calls"),
    ("traces", "Traces"),
    ("sessions", "Sessions"),
    ("tasks", "Tasks"),
    ("failures", "Failures"),
    ("costs", "Costs"),
    ("latency", "Latency"),
    ("prompts", "Prompts"),
    ("tools", "Tools"),
    ("users", "Users"),
    ("delivery", "Delivery"),
)
KEYS = {  # what is pressed after g for a page of NAVIGATION
    "": "o",
    "calls": "c",
    "traces": "t",
    "sessions": "s",
    "tasks": "k",
    "failures": "f",
    "costs": "m",
    "latency": "l",
    "prompts": "p",
    "tools": "x",
    "users": "u",
    "delivery": "d",
}

BELOW = {  # the page of NAVIGATION that leads to a page of one thing
    "call": "calls",
    "diff": "calls",
    "trace": "traces",
    "session": "sessions",
    "task": "tasks",
    "workflow": "tasks",
    "user": "users",
    "company": "users",
    "process": "delivery",
}


class Asked:
    """What a request asks for.

    Args:
        request: Starlette's.
        calls: Whom to ask, bound to a tenant if there is one.
        is_bound: Whether there is one.
    """

    def __init__(
        self, request: Request, calls: LLMCallRepository, *, is_bound: bool = False
    ) -> None:
        self.is_bound = is_bound
        self.came_ns = monotonic_ns()
        self.now = datetime.now(UTC)  # until then what runs has taken so long
        self.calls = calls
        self.annotates = False  # whether what is said of a call here is recorded
        self.request = request
        root: str = request.scope["root_path"]
        self.root = quote(root, safe="/")
        self.path: str = request.scope["path"].removeprefix(root)
        self.page = self.path.strip("/")
        self.is_part = self.page.startswith("part/")
        if self.is_part:
            page = self.page.split("/")[1]
            self.page = "" if page == "overview" else page
        # what comes into a page that is there: an address that is opened gives a whole one
        self.is_fragment = self.is_part and "hx-request" in request.headers
        self.pages = [(name, text, KEYS.get(name)) for name, text in NAVIGATION]
        self.below = BELOW.get(self.page.partition("/")[0], self.page)
        theme = request.cookies.get(THEME_COOKIE)
        self.theme = theme if theme in THEMES else None
        self.given = [(name, value) for name, value in request.query_params.multi_items() if value]
        self.usual: str | None = None  # how far back the page goes, where nothing says so
        self._told: Instructions | None = None  # that `prompt_of` stands for
        self.opens_with: str | None = None  # since when, where nothing says so

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
    def zone(self) -> str:
        """The time zone: of the parameter, else of the browser as its cookie says, else ours."""
        for given in (self.one(ZONE), unquote(self.request.cookies.get(ZONE_COOKIE, ""))):
            with suppress(UsageError):
                return checked_timezone(given)
        return local_timezone()

    def check_zone(self) -> None:
        """Refuse a time zone that is none.

        Raises:
            UsageError: The parameter is none; a cookie may be.
        """
        if (given := self.one(ZONE)) is not None:
            checked_timezone(given)

    async def look_up(self) -> None:
        """Look up what filters name: every question of the page is asked with what was found.

        Raises:
            UsageError: There is no such call.
        """
        if given := self.one(PROMPT):
            self._told = (await self.calls.ask(with_instructions({PROMPT: given})))[PROMPT]

    def filters(self, since: str | None = None, *, leave_out: Iterable[str] = ()) -> CallFilters:
        """Return the filters that are given.

        Args:
            since: How long before the end, or now, it begins if nothing says so; None for ever.
            leave_out: Those that mean nothing here.

        Raises:
            UsageError: One of them has no such value.
        """
        self.usual = since
        filters: dict[str, Any] = {}
        excluded: dict[str, list[str]] = {}
        for name in FILTERS:
            values = self.all(name)
            if not values or name in leave_out:
                continue
            if name in DATES:
                filters[DATES[name]] = parse_time(name, values[-1])
            elif name in LATENCIES:
                filters[name] = _number(name, values[-1])
            elif name == PROMPT:
                filters[name] = values[-1] if self._told is None else self._told
            elif name.startswith(NOT):
                excluded[name.removeprefix(NOT)] = values
            else:
                filters[name] = values[0] if len(values) == 1 else values
        if excluded:
            filters["excluding"] = excluded
        start, end = filters.get("start_date"), filters.get("end_date")
        if start and end and start >= end:
            raise UsageError("since is not before until.")
        if since and not start and (span := parse_span(since)):
            filters["start_date"] = beginning(span, end)
            self.opens_with = filters["start_date"].isoformat() if end else since
        return cast("CallFilters", filters)

    def before(self, filters: CallFilters) -> CallFilters:
        """Return the same filters for a time that is as long and ends where theirs begins."""
        start = filters["start_date"]
        end = filters.get("end_date") or datetime.now(start.tzinfo)
        length = min(max(end - start, _SHORTEST), max(start - EPOCH, _SHORTEST))
        return {**filters, "start_date": start - length, "end_date": start}

    @cached_property
    def given_filters(self) -> list[tuple[str, str]]:
        """The filters that are given, each value apart; no dates."""
        return [pair for pair in self.given if pair[0] in FILTERS and pair[0] not in DATES]

    def written(self, at: datetime, precise: bool = False) -> str:  # noqa: FBT001, FBT002
        """Return a time as it is read: today without the date, this year without the year.

        Args:
            at: The moment.
            precise: With date and milliseconds.
        """
        there, now = in_zone(at, self.zone), in_zone(datetime.now(at.tzinfo), self.zone)
        if precise:
            return f"{there:%Y-%m-%d %H:%M:%S}.{there.microsecond // 1000:03} {self.zone}"
        if there.date() == now.date():
            return f"{there:%H:%M:%S}"
        return f"{there:%m-%d %H:%M}" if there.year == now.year else f"{there:%Y-%m-%d}"

    def among(self, name: str, value: object) -> str:
        """Return the address of the same calls, of those that have this value, or none, alone."""
        if value is None:
            return self.same("calls", missing=list(dict.fromkeys([*self.all("missing"), name])))
        if name == "tags":  # of which a call has to carry all that are given
            value = list(dict.fromkeys([*self.all(name), value]))
        return self.same("calls", **{name: value, NOT + name: None})

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

    def narrowed(self, **filters: str) -> "Asked":
        """Return the same request for the overview of the calls that have these values, too."""
        narrowed = copy(self)
        narrowed.__dict__.pop("given_filters", None)
        narrowed.page = ""
        kept = [pair for pair in self.given if pair[0] not in (*filters, "id")]
        narrowed.given = [*kept, *filters.items()]
        return narrowed

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

    def _address(self, page: str, parameters: Iterable[tuple[str, str]]) -> str:
        query = urlencode(list(parameters))
        return f"{self.root}/{page}" + (f"?{query}" if query else "")


def in_zone(at: datetime, zone: str) -> datetime:
    """Return a moment in a time zone, an IANA name or an offset.

    At the ends of time, where the zone's clock would show a year that there is not, it stays as it
    is.
    """
    is_offset = zone[0] in "+-"
    there = (
        datetime.fromisoformat(f"2000-01-01T00:00{zone}").tzinfo if is_offset else ZoneInfo(zone)
    )
    try:
        return at.astimezone(there)
    except OverflowError:
        return at


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} has to be a number of milliseconds.") from None


def _pairs(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(one))
        for name, value in parameters.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one is not None
    ]
