"""Tasks that are coroutine functions, run in this process with `apply`."""

import asyncio
import functools
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from patience import LONG

celery = pytest.importorskip("celery")

from celery.worker.consumer import Consumer  # noqa: E402

import celery_hooks  # noqa: E402
from celery_hooks.coroutines import bodies, loops, running, steps  # noqa: E402
from llm_audit import LLMLogger, audit_context  # noqa: E402
from llm_audit.context import current_context  # noqa: E402
from llm_audit.testing import RecordedCalls  # noqa: E402

STRIKES = 3_000 if LONG else 100


class Strike(Exception):  # noqa: N818  (it is no error)
    """What a signal handler raises, as that of the soft time limit does."""


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    yield
    celery_hooks.uninstall()


@pytest.fixture
def app() -> Any:
    return celery.Celery("unit", broker="memory://", set_as_current=False)


@pytest.fixture
def strike_after() -> Iterator[Callable[[float], None]]:
    """Have an exception raised by a signal handler after some seconds."""

    def handle(*_: object) -> None:
        raise Strike

    before = signal.signal(signal.SIGALRM, handle)
    yield functools.partial(signal.setitimer, signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_task_is_run_whenever_it_is_made(app: Any) -> None:
    """Before `install` or after it, before the app is finalised or after it; of no other app."""

    def make(name: str, of: Any = app) -> Any:
        @of.task(name=name, shared=False)
        async def task(number: int) -> int:
            await asyncio.sleep(0)
            return number + 1

        return task

    other = celery.Celery("other", broker="memory://", set_as_current=False)
    made = [make("early")]
    made[0].name  # noqa: B018  (it is made now)
    made.append(make("pending"))
    celery_hooks.install(app, coroutines=True)
    celery_hooks.install(app)
    made.append(make("after"))
    app.finalize()
    made.append(make("late"))
    others = make("others", other)

    assert [task.apply(args=[1]).result for task in made] == [2, 2, 2, 2]
    coroutines = [others.apply(args=[1]).result]
    celery_hooks.uninstall()
    coroutines += [task.apply(args=[1]).result for task in made]
    coroutines += [task(1) for task in made]
    assert [asyncio.run(coroutine) for coroutine in coroutines] == [2] * 9


def test_who_calls_a_task_directly_awaits_it(app: Any) -> None:
    """Called like a function it returns its coroutine, within another task too."""
    celery_hooks.install(app, coroutines=True)

    @app.task(name="inner", shared=False)
    async def inner(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    @app.task(name="outer", shared=False, bind=True)
    async def outer(self: Any, number: int) -> Any:
        if not number:
            return await inner(1), await inner.run(2), self.request.id is not None
        return await outer(number - 1)

    assert asyncio.run(inner(1)) == 2
    assert asyncio.run(inner.run(1)) == 2
    assert outer.apply(args=[2]).result == (2, 3, True)


def test_in_a_running_loop_it_runs_beside(app: Any, llm_audit_records: RecordedCalls) -> None:
    """Applied by async code a task is over when that goes on, and knows its task and context."""
    celery_hooks.install(app, coroutines=True)
    app.conf.task_always_eager = True
    places = []

    @app.task(name="inner", shared=False, bind=True, max_retries=1)
    async def inner(self: Any) -> Any:
        await asyncio.sleep(0)
        if not self.request.retries:
            raise self.retry(countdown=0)
        LLMLogger.complete(await LLMLogger.start(model="gpt-4", messages=[]))
        places.append((threading.get_ident(), asyncio.get_running_loop()))
        return celery.current_task.request.id, celery.current_app.main

    @app.task(name="outer", shared=False)
    async def outer() -> tuple[Any, Any]:
        result = inner.apply()
        return result.id, result.result

    async def handler() -> list[Any]:
        with audit_context(user_id="u-1"):
            return [outer.delay().result, outer.delay().result]

    for inner_id, (current_id, main) in asyncio.run(handler()):
        assert (current_id, main) == (inner_id, "unit")
    assert [call.user_id for call in llm_audit_records] == ["u-1", "u-1"]
    assert len({call.task_id for call in llm_audit_records}) == 2
    assert places[0] == places[1] != threading.get_ident()
    assert current_context().task_id is None


def test_what_is_left_behind_or_blocks_is_said(
    app: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with the names of task and coroutine; what is left behind is cancelled."""
    celery_hooks.install(app, coroutines=True)
    monkeypatch.setattr(steps, "BLOCKED_SECONDS", 0.2)
    ends: list[str] = []

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ends.append("background")

    async def block() -> None:
        """Let nothing else run."""
        time.sleep(0.3)  # noqa: ASYNC251  (that is the point)

    @app.task(name="leaves", shared=False)
    async def leaves() -> None:
        leaves.kept = asyncio.create_task(background())
        await asyncio.sleep(0)

    @app.task(name="blocks", shared=False)
    async def blocks() -> None:
        await asyncio.gather(block(), asyncio.sleep(0))

    @app.task(name="blocks alone", shared=False)
    async def blocks_alone() -> None:
        await block()

    @app.task(name="raises", shared=False)
    async def raises() -> None:
        await asyncio.gather(background(), asyncio.wait_for(asyncio.Event().wait(), 0.001))

    for task in (leaves, leaves, blocks, blocks, blocks_alone, raises):
        task.apply()

    assert ends == ["background"] * 3
    messages = [record.message for record in caplog.records if record.name == "llm_audit"]
    assert len(messages) == 2, messages
    assert "Task leaves" in messages[0]
    assert "background" in messages[0]
    assert "Task blocks:" in messages[1]
    assert "block" in messages[1]


class Ways:
    """What a coroutine may be doing when something strikes; each says what its children saw."""

    behind: ClassVar[list[BaseException | None]] = []

    @classmethod
    async def wait(cls) -> None:
        """Wait, and note what is behind the cancellation."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            cls.behind.append(error.__context__)
            raise

    @staticmethod
    async def block() -> None:
        """Let nothing else run."""
        time.sleep(10)  # noqa: ASYNC251

    @staticmethod
    async def sleep() -> None:
        """Wait for a timer."""
        await asyncio.sleep(10)

    @staticmethod
    async def wait_for_thread() -> None:
        """Wait for what cannot be cancelled."""
        await asyncio.to_thread(time.sleep, 0.05)

    @staticmethod
    async def wait_while_a_callback_blocks() -> None:
        """Wait while code that is no coroutine lets nothing else run."""
        asyncio.get_running_loop().call_soon(time.sleep, 0.02)
        await asyncio.Event().wait()

    @classmethod
    async def gather_with_blocked(cls) -> None:
        """Wait for one that lets nothing else run, and another."""
        await asyncio.gather(cls.block(), cls.wait())

    @classmethod
    async def gather(cls) -> None:
        """Wait for two."""
        await asyncio.gather(cls.wait(), cls.wait())

    @classmethod
    async def group(cls) -> None:
        """Wait in a group, under a timeout."""
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(cls.wait())
            await cls.wait()

    @classmethod
    async def wait_for_the_stubborn(cls) -> None:
        """Wait for one that is not to be cancelled."""

        async def stay() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        await asyncio.create_task(stay())


def test_what_strikes_is_raised_where_the_coroutine_waits(
    app: Any, strike_after: Callable[[float], None]
) -> None:
    """Not in the event loop, whatever that does; the coroutine may handle it, and awaits on."""
    celery_hooks.install(app, coroutines=True)

    @app.task(name="struck", shared=False)
    async def struck(way: str) -> int:
        task = asyncio.current_task()
        assert task is not None
        try:
            if way == "block":
                strike_after(0.01)
            else:  # once it waits, however slow the machine is: no coroutine is left that never ran
                asyncio.get_running_loop().call_soon(strike_after, 0.01)
            await getattr(Ways, way)()
        except (Strike, ExceptionGroup):
            await asyncio.sleep(0)
            return task.cancelling()
        return -1

    ways = [name for name, value in vars(Ways).items() if not isinstance(value, list | str)]
    results = {way: struck.apply(args=[way]).result for way in ways if way[0] != "_"}

    assert results == dict.fromkeys(results, 0)
    assert len(results) == 9
    assert Ways.behind
    assert all(isinstance(error, Strike) for error in Ways.behind)


def test_whenever_it_strikes_the_loop_goes_on(
    app: Any,
    strike_after: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At any moment: the task is struck or had ended, and the next one runs."""
    celery_hooks.install(app, coroutines=True)
    for logger in ("asyncio", "celery.app.trace"):  # what they log keeps coroutines alive
        caplog.set_level(logging.CRITICAL, logger)

    async def step() -> None:
        await asyncio.sleep(0)

    @app.task(name="busy", shared=False)
    async def busy() -> str:
        for _ in range(5):
            await asyncio.gather(step(), step(), asyncio.wait_for(step(), 1))
            await asyncio.sleep(0.0001)
        return "done"

    @app.task(name="idle", shared=False)
    async def idle() -> str:
        await step()
        return "idle"

    def run_while_it_may_strike(*args: Any) -> object:
        may_strike.add("now")
        try:
            return run(*args)
        finally:
            may_strike.clear()

    run, may_strike = running.run, set[str]()
    # not in Celery, whose stacks of tasks it would leave in disorder
    monkeypatch.setattr(running, "run", run_while_it_may_strike)
    strikes = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda *_: may_strike and strikes())

    busy.apply()
    began = time.monotonic()
    for _ in range(10):
        busy.apply()
    usual = (time.monotonic() - began) / 10
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # struck between a call and its await
        for _ in range(STRIKES):
            strike_after(random.uniform(0.00001, usual))
            result = busy.apply().result
            strike_after(0)
            seen.add(result if isinstance(result, str) else type(result))
            assert idle.apply().result == "idle"
        del result  # an error holds frames, and they hold coroutines
        loops.close_all()
        gc.collect()

    assert Strike in seen
    assert seen <= {"done", Strike}


def test_the_end_of_the_process_cancels_and_goes_on(app: Any) -> None:
    """A coroutine may clean up when something ends the process, and does not keep it."""
    celery_hooks.install(app, coroutines=True)
    done: list[str] = []

    def end(*_: object) -> None:
        sys.exit(3)

    @app.task(name="ends", shared=False)
    async def ends(how: str) -> None:
        try:
            if how == "exit":
                sys.exit(3)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            done.append("cancelled")
        finally:
            await asyncio.sleep(0)
            done.append("cleaned up")

    async def handler(how: str) -> None:
        ends.apply(args=[how])

    before = signal.signal(signal.SIGTERM, end)
    try:
        for how in ("exit", "signal"):
            with pytest.raises(SystemExit):
                ends.apply(args=[how])
            with pytest.raises(SystemExit):
                asyncio.run(handler(how))
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.count("cleaned up") == 4


def test_each_process_and_thread_has_a_loop_of_its_own(app: Any) -> None:
    """A forked child makes its own and leaves its parent's alone; that of a dead thread closes."""
    celery_hooks.install(app, coroutines=True)
    seen: list[asyncio.AbstractEventLoop] = []

    @app.task(name="look", shared=False)
    async def look() -> None:
        await asyncio.to_thread(time.sleep, 0)  # wakes the loop from outside
        seen.append(asyncio.get_running_loop())

    look.apply()
    child = os.fork()
    if child == 0:
        look.apply()
        loops.close_all()
        os._exit(seen[0] is seen[1])
    assert os.waitpid(child, 0)[1] == 0
    look.apply()
    for _ in range(2):
        thread = threading.Thread(target=look.apply)
        thread.start()
        thread.join()

    here, again, there, elsewhere = seen
    assert here is again is not there is not elsewhere
    assert [loop.is_closed() for loop in (here, there, elsewhere)] == [False, True, False]
    celery_hooks.uninstall()
    assert here.is_closed()


def test_at_the_end_a_loop_ends_its_generators(app: Any) -> None:
    """What was kept beyond its task is closed in the loop that it belongs to."""
    celery_hooks.install(app, coroutines=True)
    ends: list[str] = []

    async def stream() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ends.append("closed")

    kept = stream()

    @app.task(name="read", shared=False)
    async def read() -> int:
        return int(await anext(kept))

    assert read.apply().result == 1
    assert ends == []
    loops.close_all()
    assert ends == ["closed"]


def test_the_warning_names_the_option(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It comes where a task is not run, and only there."""

    def run(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper() -> Any:
            return asyncio.run(function())

        return wrapper

    async def work() -> str:
        return "done"

    async def generate() -> Any:
        yield 1

    plain = app.task(run(work), name="runs itself", shared=False)
    app.task(work, name="is not run", shared=False, autoretry_for=(ValueError,))
    app.task(generate, name="yields", shared=False)
    celery_hooks.install(app)
    app.finalize()
    celery_hooks.install(app, coroutines=True)

    assert plain.apply().result == "done"
    warned, yields = caplog.messages
    assert "Task is not run" in warned
    assert "coroutines=True" in warned
    assert "Task yields" in yields


def test_a_worker_names_the_tasks_that_greenlets_refuse(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """When it starts, not only when the first of them fails."""

    async def work() -> None: ...

    celery_hooks.install(app, coroutines=True)
    app.task(work, name="refused", shared=False)
    worker = Consumer.__new__(Consumer)
    worker.app, worker.pool = app, SimpleNamespace(is_green=False)
    bodies.look_in_worker(worker)
    assert caplog.messages == []
    worker.pool.is_green = True
    bodies.look_in_worker(worker)

    (message,) = caplog.messages
    assert "Task refused will fail" in message
    assert "prefork" in message


REFUSED = """
import eventlet; eventlet.monkey_patch()
from celery import Celery
import celery_hooks
app = Celery("refusing", broker="memory://")
celery_hooks.install(app, coroutines=True)
@app.task
async def task(): pass
print(repr(task.apply().result))
"""


def test_greenlets_refuse() -> None:
    """Where threads are greenlets the task fails, with one sentence."""
    if find_spec("eventlet") is None:  # not imported here: it warns of every fork from then on
        pytest.skip("eventlet is not installed")
    command = [sys.executable, "-c", REFUSED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("RuntimeError('Task refusing.task is `async def`. ")
    assert "prefork" in done.stdout
