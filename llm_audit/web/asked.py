"""One request: which calls it is about, whose they are, and in which time zone."""

from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic_ns
from typing import Any, cast
from urllib.parse import quote, unquote
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
from llm_audit.web.links import Links
from llm_audit.web.navigation import place_of, places
from llm_audit.web.parameters import DATES, FILTERS, NOT, PROMPT, ZONE

ZONE_COOKIE, THEME_COOKIE = "llm_audit_tz", "llm_audit_theme"  # viewer.js sets them
THEMES = ("light", "dark")
ADDRESS_MAX = 8_192  # characters after the question mark: the links of a page repeat them
PARAMETERS_MAX = 100
_SHORTEST = timedelta(milliseconds=1)  # of a stretch of time


class Asked(Links):
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
        self.target = ""  # where it is that is asked, for people
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
        self.places = places(of_a_tenant=is_bound)
        self.below = place_of(self.page)
        theme = request.cookies.get(THEME_COOKIE)
        self.theme = theme if theme in THEMES else None
        query: bytes = request.scope["query_string"]
        self._is_too_long = len(query) > ADDRESS_MAX or query.count(b"&") >= PARAMETERS_MAX
        self.given = [(name, value) for name, value in request.query_params.multi_items() if value]
        if self._is_too_long:  # what is said of that repeats nothing of it
            self.given = [("format", "json")] if ("format", "json") in self.given else []
        # a date is one of the page's zone, and means the same in each link that goes on from here
        self.given = [
            (name, _exact(value, self.zone) if name in DATES else value)
            for name, value in self.given
        ]
        self.usual: str | None = None  # how far back the page goes, where nothing says so
        self._told: Instructions | None = None  # that `prompt_of` stands for
        self.opens_with: str | None = None  # since when, where nothing says so

    @property
    def took_ms(self) -> float:
        """How long the answer has taken so far."""
        return (monotonic_ns() - self.came_ns) / 1_000_000

    @cached_property
    def zone(self) -> str:
        """The time zone: of the parameter, else of the browser as its cookie says, else ours."""
        for given in (self.one(ZONE), unquote(self.request.cookies.get(ZONE_COOKIE, ""))):
            with suppress(UsageError):
                return checked_timezone(given)
        return local_timezone()

    def check(self) -> None:
        """Refuse an address that is too long, and a time zone that is none.

        Raises:
            UsageError: The address is; or the parameter is none, as a cookie may be.
        """
        if self._is_too_long:
            raise UsageError(
                f"This address is too long: it may have {PARAMETERS_MAX} parameters, and "
                f"{ADDRESS_MAX:,} characters after the question mark."
            )
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

    def day(self, ago: int) -> dict[str, str | None]:
        """Return `since` and `until` of a day in the page's zone; today has no end yet.

        Args:
            ago: How many days ago it was.
        """
        today = in_zone(self.now, self.zone)
        first = (today.replace(tzinfo=None) - timedelta(days=ago)).date()
        after = _exact(f"{first + timedelta(days=1)}", self.zone)
        return {"since": _exact(f"{first}", self.zone), "until": after if ago else None}

    @property
    def stretch(self) -> str:
        """The stretch of time that is asked for, in words; empty where nothing says it."""
        since, until = self.one("since"), self.one("until")
        words = []
        for word, given in (("from", since or self.opens_with), ("to", until)):
            with suppress(UsageError):
                at = given and parse_time(word, given)
                if at:
                    there = in_zone(at, self.zone)
                    year = "" if there.year == self.now.year else f"{there.year}-"
                    words.append(f"{word} {year}{there:%m-%d %H:%M}")
        return " ".join(words) if until or (since and not parse_span(since)) else ""

    def narrowed(self, **filters: str) -> "Asked":
        """Return the same request for the overview of the calls that have these values, too."""
        narrowed = copy(self)
        narrowed.__dict__.pop("given_filters", None)
        narrowed.page = ""
        kept = [pair for pair in self.given if pair[0] not in (*filters, "id")]
        narrowed.given = [*kept, *filters.items()]
        return narrowed


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


def _exact(text: str, zone: str) -> str:
    """Return a date that says no zone as a moment in one; whatever else it is, as it is."""
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            return at.replace(tzinfo=in_zone(datetime.now(UTC), zone).tzinfo).isoformat()
    return text


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} has to be a number of milliseconds.") from None
