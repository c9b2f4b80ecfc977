"""The order of outcomes, and the instant in a call's id."""

import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils import uuid7

from llm_audit.ids import created_at
from llm_audit.journal.precedence import Rank, later_key, outcome_key, rank_of

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp()
FAR = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def test_rank_counts_before_time() -> None:
    """Whoever knows better is believed, however late the outcome comes."""
    for lower, higher in itertools.pairwise(sorted(Rank)):
        assert outcome_key(higher, FAR) > outcome_key(lower, 0.0)


def test_the_earlier_counts_within_a_rank() -> None:
    """Of two outcomes of one rank the earlier stands, to the microsecond."""
    for rank in Rank:
        assert outcome_key(rank, NOON) > outcome_key(rank, NOON + 2e-6)


@pytest.mark.parametrize("at", [-NOON, 0.0, NOON, FAR, 10 * FAR])
def test_a_key_fits_in_64_bits(at: float) -> None:
    """Every key is a positive number that BSON holds."""
    assert all(0 < outcome_key(rank, at) < 2**63 for rank in Rank)
    assert all(rank_of(outcome_key(rank, at)) == rank for rank in Rank)


def test_a_tie_is_settled_by_lot() -> None:
    """Outcomes of the same rank and instant do not all have the same key."""
    assert len({outcome_key(Rank.ELSEWHERE, NOON) for _ in range(100)}) > 1


def test_what_is_said_later_is_in_the_order_in_which_it_is_said() -> None:
    """Whatever the clock does meanwhile: it stands still, is put back, or is before 1970."""
    keys = [later_key(at) for at in (NOON, NOON, NOON + 1, NOON, -NOON, 0.0, FAR, NOON)]
    assert keys == sorted(set(keys))
    assert all(0 < key < 2**63 for key in keys)


def test_an_id_says_when_it_was_made() -> None:
    """The instant in a UUIDv7 is that of its making, in milliseconds."""
    before = datetime.fromtimestamp(int(time.time() * 1000) / 1000, UTC)
    made = created_at(str(uuid7()))
    assert made is not None
    assert before - timedelta(milliseconds=1) <= made <= datetime.now(UTC)


@pytest.mark.parametrize(
    "call_id",
    [
        "4f0e6c1a-3d52-4b6e-9a77-0c2d5e8f1b34",
        "made elsewhere",
        "",
        "zzzzzzzz-zzzz-7zzz-8000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
)
def test_another_id_says_nothing(call_id: str) -> None:
    """An id that is no UUIDv7 of a year that can be has no instant, and raises nothing."""
    assert created_at(call_id) is None
