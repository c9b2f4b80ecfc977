"""Until when a call is kept: from its making, or from its coming where a clock is wrong."""

from datetime import UTC, datetime, timedelta

from llm_audit.ids import first_id_at
from llm_audit.journal.statements.retention import IN_DOUBT_SECONDS, PLAUSIBLE, Retention

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DAYS = timedelta(days=30)
HOUR = timedelta(hours=1)


def made_at(moment: datetime) -> str:
    return first_id_at(moment.timestamp()) + "-7000-8000-000000000000"


def test_what_cannot_have_been_made_when_it_says_is_kept_from_when_it_comes() -> None:
    """Both by a clock that is behind and by one that is ahead."""
    kept = Retention(DAYS.days, lambda _: NOON)
    for off in (-PLAUSIBLE + HOUR, -HOUR, 0 * HOUR, HOUR, PLAUSIBLE - HOUR):
        assert kept.expires_at(made_at(NOON + off)) == NOON + off + DAYS
    for off in (-1000 * DAYS, -DAYS, -PLAUSIBLE - HOUR, PLAUSIBLE + HOUR, DAYS, 300 * DAYS):
        assert kept.expires_at(made_at(NOON + off)) == NOON + DAYS
    shortly = Retention(HOUR / timedelta(days=1), lambda _: NOON)
    assert shortly.expires_at(made_at(NOON - 0.4 * HOUR)) == NOON + 0.6 * HOUR
    assert shortly.expires_at(made_at(NOON - 2 * HOUR)) == NOON + HOUR
    assert kept.expires_at("an id of somebody else's") is None
    assert Retention(None, lambda _: NOON).expires_at(made_at(NOON)) is None


def test_the_server_is_asked_again_where_it_is_in_doubt() -> None:
    """A machine that has slept for a week believes for a minute that it is a week ago."""
    asked: list[float] = []

    def now(ask_again_seconds: float) -> datetime:
        asked.append(ask_again_seconds)
        return NOON if ask_again_seconds <= IN_DOUBT_SECONDS else NOON - timedelta(days=7)

    assert Retention(DAYS.days, now).expires_at(made_at(NOON)) == NOON + DAYS
    assert asked[-1] == IN_DOUBT_SECONDS
