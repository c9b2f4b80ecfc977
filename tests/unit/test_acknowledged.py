"""How far MongoDB has acknowledged: waiting for it, being called, giving up."""

import threading
from collections.abc import Callable

from waiting import PATIENCE, until

from llm_audit.recorder.shipping.acknowledged import Acknowledged


def never() -> None:
    raise AssertionError("this was not to be called")


def asleep() -> None:
    """Wake nobody."""


def waiting(acknowledged: Acknowledged, *seqs: int) -> tuple[list[threading.Thread], list[int]]:
    """Wait in threads of their own; return these, and the list of the numbers that came."""
    came: list[int] = []

    def wait(seq: int) -> None:
        if acknowledged.wait(seq, PATIENCE):
            came.append(seq)

    threads = [threading.Thread(target=wait, args=(seq,)) for seq in seqs]
    for thread in threads:
        thread.start()
    return threads, came


def named(name: int, called: list[int]) -> Callable[[], None]:
    return lambda: called.append(name)


def test_what_has_arrived_is_not_waited_for() -> None:
    """For what is acknowledged already, or for nothing, the answer is yes at once."""
    acknowledged = Acknowledged(asleep)
    assert acknowledged.wait(0, 0)
    acknowledged.advance(5)
    assert acknowledged.wait(5, 0)
    assert not acknowledged.wait(6, 0)


def test_it_never_goes_back() -> None:
    """What was acknowledged once stays so."""
    acknowledged = Acknowledged(asleep)
    acknowledged.advance(5)
    acknowledged.advance(3)
    assert acknowledged.through == 5


def test_each_waits_for_its_own() -> None:
    """Threads that wait go on as soon as their own number is reached, and not before."""
    acknowledged = Acknowledged(asleep)
    (first, second), came = waiting(acknowledged, 5, 10)
    until(lambda: acknowledged._wanted == 10)
    acknowledged.advance(4)
    assert came == []
    acknowledged.advance(9)
    first.join(PATIENCE)
    assert (came, second.is_alive()) == ([5], True)
    acknowledged.advance(10)
    second.join(PATIENCE)
    assert came == [5, 10]


def test_whoever_waits_wakes_the_shipper() -> None:
    """Beginning to wait, or asking to be called, wakes whoever has to work for it."""
    woken: list[int] = []
    acknowledged = Acknowledged(lambda: woken.append(1))
    acknowledged.wait(1, 0)
    assert len(woken) == 1
    acknowledged.call(1, asleep)
    assert len(woken) == 2


def test_it_is_known_whether_anybody_waits() -> None:
    """Nothing may be put off as long as somebody waits for more than has arrived."""
    acknowledged = Acknowledged(asleep)
    assert not acknowledged.is_awaited
    acknowledged.call(3, asleep)
    acknowledged.wait(2, 0)
    assert acknowledged.is_awaited
    acknowledged.advance(2)
    assert acknowledged.is_awaited
    acknowledged.advance(3)
    assert not acknowledged.is_awaited


def test_a_wait_ends_when_it_makes_no_sense() -> None:
    """Where nobody ships any more, nobody waits for the whole time, nor begins to."""
    acknowledged = Acknowledged(asleep)
    (thread,), came = waiting(acknowledged, 5)
    until(lambda: acknowledged.is_awaited)
    acknowledged.end()
    thread.join(PATIENCE)
    assert (came, thread.is_alive()) == ([], False)
    assert not acknowledged.wait(1, 10 * PATIENCE)


def test_callbacks_come_in_their_turn() -> None:
    """Each is called once, when its number is reached, those asked for first before others."""
    acknowledged = Acknowledged(asleep)
    called: list[int] = []
    for name, seq in enumerate([7, 3, 9, 3]):
        acknowledged.call(seq, named(name, called))
    acknowledged.advance(2)
    assert called == []
    acknowledged.advance(8)
    assert sorted(called) == [0, 1, 3]
    acknowledged.advance(8)
    acknowledged.advance(20)
    assert sorted(called) == [0, 1, 2, 3]


def test_a_callback_may_come_at_once() -> None:
    """For what has arrived already, whoever asks is called before the asking returns."""
    acknowledged = Acknowledged(asleep)
    acknowledged.advance(5)
    called: list[int] = []
    acknowledged.call(5, named(1, called))
    assert called == [1]


def test_a_callback_may_ask_again() -> None:
    """No lock is held while somebody is called: it may wait, ask, and record."""
    acknowledged = Acknowledged(asleep)
    called: list[int] = []

    def again() -> None:
        called.append(1)
        acknowledged.call(2, named(2, called))
        thread = threading.Thread(target=acknowledged.advance, args=(2,))
        thread.start()
        thread.join(PATIENCE)

    acknowledged.call(1, again)
    acknowledged.advance(1)
    assert called == [1, 2]


def test_a_callback_can_be_taken_back() -> None:
    """Whoever has stopped waiting is not called, and is not remembered."""
    acknowledged = Acknowledged(asleep)
    acknowledged.call(1, never)
    acknowledged.call_no_more(never)
    acknowledged.call_no_more(never)
    acknowledged.advance(1)
    assert not acknowledged._callbacks
