"""How long something has not changed: by what this process has seen, and by nothing else."""

from collections.abc import Callable

from llm_audit.journal.sightings import Sightings


def test_what_is_new_has_not_been_unchanged(pass_seconds: Callable[[float], None]) -> None:
    """The first sight of something says nothing about the time before."""
    sightings = Sightings()
    pass_seconds(500)
    assert sightings.unchanged_seconds("a", 1) == 0


def test_time_adds_up_while_nothing_changes(pass_seconds: Callable[[float], None]) -> None:
    """As long as the value is the same, it counts from the first sight."""
    sightings = Sightings()
    sightings.unchanged_seconds("a", 1)
    pass_seconds(2)
    assert sightings.unchanged_seconds("a", 1) == 2
    pass_seconds(3)
    assert sightings.unchanged_seconds("a", 1) == 5


def test_a_change_begins_anew(pass_seconds: Callable[[float], None]) -> None:
    """Another value counts from now, even one that was there before."""
    sightings = Sightings()
    for value in (1, 2, 1):
        assert sightings.unchanged_seconds("a", value) == 0
        pass_seconds(2)
    assert sightings.unchanged_seconds("a", 1) == 2


def test_names_are_watched_apart(pass_seconds: Callable[[float], None]) -> None:
    """What happens to one has no bearing on another."""
    sightings = Sightings()
    sightings.unchanged_seconds("a", 1)
    pass_seconds(2)
    sightings.unchanged_seconds("b", 1)
    pass_seconds(2)
    assert (sightings.unchanged_seconds("a", 1), sightings.unchanged_seconds("b", 1)) == (4, 2)


def test_what_is_not_kept_begins_anew(pass_seconds: Callable[[float], None]) -> None:
    """After a break, the same value counts from now."""
    sightings = Sightings()
    for name in ("a", "b"):
        sightings.unchanged_seconds(name, 1)
    pass_seconds(2)
    sightings.keep(["b", "never seen"])
    pass_seconds(2)
    assert (sightings.unchanged_seconds("a", 1), sightings.unchanged_seconds("b", 1)) == (0, 4)
