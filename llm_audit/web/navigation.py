"""The pages that every page leads to, and where those of one thing belong."""

from typing import NamedTuple


class Place(NamedTuple):
    """A page that every page leads to.

    Attributes:
        page: Its name; empty for the first one.
        text: What it is called.
        key: What is pressed after g to go there.
        below: The pages of one thing that it leads to.
    """

    page: str
    text: str
    key: str
    below: tuple[str, ...] = ()


DELIVERY = "delivery"  # of everybody's calls alone
NAVIGATION = (
    Place("", "Overview", "o"),
    Place("calls", "Calls", "c", ("call", "diff")),
    Place("traces", "Traces", "t", ("trace",)),
    Place("sessions", "Sessions", "s", ("session",)),
    Place("tasks", "Tasks", "k", ("task", "workflow")),
    Place("failures", "Failures", "f"),
    Place("costs", "Costs", "m"),
    Place("latency", "Latency", "l"),
    Place("prompts", "Prompts", "p"),
    Place("tools", "Tools", "x"),
    Place("users", "Users", "u", ("user", "company")),
    Place(DELIVERY, "Delivery", "d", ("process",)),
)


def places(*, of_a_tenant: bool) -> list[Place]:
    """Return where one can go; a tenant's viewer says nothing of delivery."""
    return [place for place in NAVIGATION if not (of_a_tenant and place.page == DELIVERY)]


def place_of(page: str) -> str:
    """Return the page of `NAVIGATION` that a page is, or belongs to."""
    first = page.partition("/")[0]
    return next((place.page for place in NAVIGATION if first in place.below), page)
