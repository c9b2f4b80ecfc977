"""How long something has not changed: by what this process has seen, and by nothing else."""

from collections.abc import Callable

from llm_audit.journal.spool.sightings import Sightings


def test_only_what_was_seen_counts(pass_seconds: Callable[[float], None]) -> None:
    """Time adds up from the first sight of a value, for each name apart; a change begins anew."""
    sightings = Sightings()
    pass_seconds(500)
    assert sightings.unchanged_seconds("a", 1) == 0
    pass_seconds(2)
    assert sightings.unchanged_seconds("b", 1) == 0
    pass_seconds(3)
    assert sightings.unchanged_seconds("a", 1) == 5
    assert sightings.unchanged_seconds("a", 2) == 0
    assert sightings.unchanged_seconds("a", 1) == 0

    sightings.keep(["b", "never seen"])
    pass_seconds(2)
    assert (sightings.unchanged_seconds("a", 1), sightings.unchanged_seconds("b", 1)) == (0, 5)
