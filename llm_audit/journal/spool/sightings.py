"""How long something has not changed, as this process has itself seen it.

No clocks are compared and no past silence counts, so neither a wrong clock nor an outage makes the
living look dead.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from llm_audit.runtime import clock


class _Sighting(NamedTuple):
    value: object
    since: float  # on the monotonic clock


class Sightings:
    """Remembers what it was shown, and since when it is the same."""

    def __init__(self) -> None:
        self._sightings: dict[str, _Sighting] = {}

    def unchanged_seconds(self, name: str, value: object) -> float:
        """Take note of a value, and return for how long it has been this one."""
        now = clock.monotonic()
        sighting = self._sightings.get(name)
        if sighting is None or sighting.value != value:
            self._sightings[name] = sighting = _Sighting(value, now)
        return now - sighting.since

    def __iter__(self) -> Iterator[str]:
        """Go through the names it knows."""
        return iter(self._sightings)

    def keep(self, names: Iterable[str]) -> None:
        """Forget all names but these."""
        kept = set(names)
        for name in self._sightings.keys() - kept:
            del self._sightings[name]
