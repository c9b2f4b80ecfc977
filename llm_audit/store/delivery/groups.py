"""Writes that go to MongoDB in one command."""

from collections.abc import Iterable, Iterator

from llm_audit.journal.statements.writes import ABOUT_ATTEMPTS, Form, Write

Group = list[Write]


def opened(writes: Group) -> Iterator[Write]:
    """Read what could not be read before."""
    for write in writes:
        if write.form is Form.UNREAD:
            yield from write.opened()
        else:
            yield write


def apart(writes: Iterable[Write]) -> list[Group]:
    """Let go by themselves what is a command by itself, so that each that arrives is done with.

    So do updates whose count tells something: what was superseded, say. The last group goes first:
    inserts before updates, and what is about attempts asks what became of the calls.
    """
    by_itself: tuple[Group, ...] = ([], [], [], [], [])
    about_attempts, later, others, updates, inserts = by_itself
    for write in writes:
        if write.form in ABOUT_ATTEMPTS:
            about_attempts.append(write)
        elif write.form is Form.ADD_LATER:
            later.append(write)
        elif write.form is Form.UPDATE_OTHER:
            others.append(write)
        elif write.form is Form.INSERT_MERGED or write.form is Form.INSERT_START:
            inserts.append(write)
        else:
            updates.append(write)
    return [group for group in by_itself if group]
