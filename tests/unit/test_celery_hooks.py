"""What `install` does without a worker, and what travels in the header."""

import json
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

celery = pytest.importorskip("celery")

from celery.app.trace import build_tracer  # noqa: E402
from celery.contrib.testing.worker import test_worker_stopped  # noqa: E402
from celery.worker import state  # noqa: E402
from celery.worker.consumer import Consumer  # noqa: E402
from celery.worker.request import Request  # noqa: E402

import celery_hooks  # noqa: E402
import llm_audit  # noqa: E402
from celery_hooks import propagation, received, verdicts  # noqa: E402
from celery_hooks.installed import Options, options_of  # noqa: E402
from llm_audit import (  # noqa: E402
    LLMCallTypeEnum,
    LLMLogger,
    UsageError,
    configure,
)
from llm_audit.context import NOWHERE, CallContext, audit_context, current_context  # noqa: E402
from llm_audit.recorder.captured import ALL, Captured  # noqa: E402
from llm_audit.recorder.process import open_calls  # noqa: E402
from llm_audit.settings import reset_settings  # noqa: E402
from llm_audit.testing import RecordedCalls  # noqa: E402


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    yield
    celery_hooks.uninstall()


@pytest.fixture
def app() -> Any:
    return celery.Celery("unit", broker="memory://", set_as_current=False)


def seen_in(app: Any) -> CallContext:
    """Return the context that a task of the app runs in."""
    contexts: list[CallContext] = []

    @app.task(name="look", shared=False)
    def look() -> None:
        contexts.append(current_context())

    look.apply()
    return contexts[0]


def test_a_proxy_of_the_app_will_do(app: Any) -> None:
    """`install(current_app)` tags the tasks of the app that the proxy stands for."""
    app.set_current()
    celery_hooks.install(celery.current_app)

    assert seen_in(app).task_id is not None


def test_only_the_installed_app_is_tagged(app: Any) -> None:
    """The tasks of another app of the process stay as they are."""
    celery_hooks.install(app)

    assert seen_in(celery.Celery("other", set_as_current=False)).task_id is None


def test_installing_twice_keeps_the_flush(app: Any) -> None:
    """A second install does not take back what the first one asked for."""
    celery_hooks.install(app, flush="task")
    celery_hooks.install(app)

    assert options_of(app) == Options(flush=True)


def test_a_context_of_something_else_than_a_request() -> None:
    """Strict mode says so; what carries nothing leaves the context as it is."""
    with audit_context(user_id="7"), celery_hooks.request_context(SimpleNamespace(request_dict={})):
        assert current_context().user_id == "7"
    configure(strict=True)
    with pytest.raises(UsageError, match=r"request_context\(\) takes a request .* not str"):
        celery_hooks.request_context("a task's id").__enter__()


def test_every_receiver_is_connected_once_and_goes(app: Any) -> None:
    """However often they are installed, uninstalling leaves Celery as it was."""
    names = [name for name in vars(celery.signals) if name in celery.signals.__all__]

    def connected() -> list[Any]:
        receivers = [len(getattr(celery.signals, name).receivers or ()) for name in names]
        return [*receivers, len(app.on_after_finalize.receivers or ()), vars(Consumer).copy()]

    before = connected()
    celery_hooks.install(app)
    once = connected()
    celery_hooks.install(app)
    celery_hooks.install()
    assert connected() == once != before
    celery_hooks.uninstall()
    assert connected() == before


def test_a_late_install(app: Any) -> None:
    """Tasks of an app that is finalised already are tagged like those to come."""
    app.finalize()
    celery_hooks.install(app)

    assert seen_in(app).task_id is not None


def test_tasks_called_as_functions_are_part_of_the_caller(app: Any) -> None:
    """A direct call is no task of its own: in a task it belongs to that, elsewhere to nothing."""
    celery_hooks.install(app)

    @app.task(shared=False)
    def inner() -> CallContext:
        return current_context()

    @app.task(shared=False, bind=True)
    def outer(self: Any) -> tuple[str, CallContext]:
        return self.request.id, inner()

    task_id, context = outer.apply().get()
    assert context.task_id == task_id
    assert inner() is NOWHERE


def test_an_eager_task_within_another(app: Any) -> None:
    """It is a task of its own in the trace of the other, whose context is then as it was."""
    celery_hooks.install(app)
    app.conf.task_always_eager = True

    @app.task(shared=False)
    def inner() -> CallContext:
        return current_context()

    @app.task(shared=False)
    def outer() -> tuple[CallContext, CallContext, CallContext]:
        return current_context(), inner.delay().result, current_context()

    before, within, after = outer.delay().result
    assert after is before
    assert within.task_id not in {before.task_id, None}
    assert within.trace_id == before.trace_id
    assert current_context() is NOWHERE


def canvases(depth: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield groups, chains and chords in each other, each with its name."""
    task = celery.signature("work", immutable=True)
    yield "task", task.clone
    if not depth:
        return
    inner = list(canvases(depth - 1))
    for (one, make), (other, make_other) in product(inner, inner):
        pair = f"({one}, {other})"
        yield f"group{pair}", lambda m=make, n=make_other: celery.group(m(), n())
        yield f"chain{pair}", lambda m=make, n=make_other: celery.chain(m(), n())
        yield f"chord{pair}", lambda m=make, n=make_other: celery.chord([m(), n()], task.clone())
    for name, make in inner[1:]:
        yield f"group({name})", lambda m=make: celery.group(m())
        yield f"chord(task, {name})", lambda m=make: celery.chord([task.clone()], m())


def test_all_that_a_canvas_publishes_at_once_is_one_trace(app: Any) -> None:
    """Groups, chains and chords in each other: the messages say what they have in common."""
    app.set_current()
    app.conf.result_backend = "cache+memory://"
    app.task(call, name="work", shared=False)
    requests: list[Any] = []

    def note(headers: Any = None, body: Any = None, **_: Any) -> None:
        fields = json.loads(json.dumps([headers, body[2]], default=str))  # as it travels
        requests.append(SimpleNamespace(**{**fields[1], **fields[0]}))

    celery.signals.before_task_publish.connect(note, weak=False)
    split = []
    try:
        for name, make in canvases(2):
            requests.clear()
            make().apply_async()
            traces = {propagation.canvas_id_of(request) for request in requests}
            if len(traces) != 1:
                split.append(name)
    finally:
        celery.signals.before_task_publish.disconnect(note)
    assert split == []


def test_a_canvas_that_makes_no_sense(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is in the place of what follows, the root is the trace."""
    endless: dict[str, Any] = {"options": {}}
    endless["options"]["chord"] = endless
    for odd in (5, [5], endless, {"options": 5}):
        request = SimpleNamespace(group=None, chain=None, chord=odd, root_id="root", id="task")
        assert propagation.canvas_id_of(request) == "root"
    assert caplog.messages


def test_a_chain_that_is_taken_apart(app: Any) -> None:
    """The trace is that of the canvas, though Celery pops the chain before anybody asks for it."""
    celery_hooks.install(app)

    @app.task(shared=False, bind=True)
    def look(self: Any) -> str | None:
        self.request.chain.pop()
        return current_context().trace_id

    what_follows = {"options": {"group_id": "the canvas"}}
    fields = {"id": "task", "root_id": "root", "chain": [what_follows], "is_eager": False}
    assert build_tracer(look.name, look, app=app)("task", (), {}, fields).retval == "the canvas"


def test_a_message_that_makes_no_sense(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a producer has put into the headers, the task runs, and its calls carry it."""
    celery_hooks.install(app)

    @app.task(shared=False)
    def look() -> str | None:
        return current_context().task_id

    fields = {"id": "task", "headers": "no mapping", "is_eager": False}
    assert build_tracer(look.name, look, app=app)("task", (), {}, fields).retval == "task"
    assert caplog.messages


def test_the_request_can_be_pickled_and_printed(app: Any) -> None:
    """What the hooks keep at the request neither breaks its pickling nor shows the context."""
    celery_hooks.install(app)

    @app.task(shared=False, bind=True)
    def look(self: Any) -> tuple[bytes, str]:
        assert current_context().metadata
        return pickle.dumps(self.request), repr(self.request)

    with audit_context(metadata={"plan": "secret"}):
        pickled, shown = look.apply().get()
    assert pickle.loads(pickled)
    assert "secret" not in shown


def receive(app: Any, *, limit: float | None = None) -> Request:
    """Return what a worker has made of a message; a message may come twice."""
    if "work" not in app.tasks:
        app.task(call, name="work", shared=False)
    headers = {"id": "task", "task": "work", "timelimit": (limit, None), "x-theirs": "header"}
    message = SimpleNamespace(
        headers=headers,
        properties={"correlation_id": "task"},
        delivery_info={"exchange": "", "routing_key": "queue"},
        payload=((), {}, {}),
        body="",
        content_type="application/json",
        content_encoding="utf-8",
    )
    request = Request(message, app=app)
    received.note(sender=None, request=request)
    return request


def test_each_attempt_has_a_name_that_stays_with_it(app: Any) -> None:
    """What is received is named anew each time; a retry is published with nothing of the name."""
    one, again = receive(app), receive(app)
    attempt_id = received.attempt_of(one)
    assert attempt_id
    assert received.attempt_of(one._context) == attempt_id  # what the body sees
    assert received.attempt_of(again) not in {attempt_id, None}

    retry = app.tasks["work"].signature_from_request(one._context, retries=1)
    assert retry.options["headers"]["x-theirs"] == "header"
    for travels in (retry, one._context.as_execution_options(), vars(one.message)):
        assert attempt_id not in repr(travels)


def test_a_body_runs_under_the_name_that_the_worker_gave_it(app: Any) -> None:
    """The task's calls have the id by which the main process will speak of them, else their own."""
    celery_hooks.install(app)

    @app.task(shared=False)
    def look() -> Any:
        return current_context().task["attempt_id"]

    run = build_tracer(look.name, look, app=app)
    request = receive(app)
    assert run("task", (), {}, request.request_dict).retval == received.attempt_of(request)
    without = [run("task", (), {}, {"id": "task"}).retval for _ in range(2)]
    assert len({*without, received.attempt_of(request)}) == 3


def test_of_two_requests_of_one_task_the_one_meant_is_found(app: Any) -> None:
    """A message may come twice: a verdict is on the run that it is about, or on none."""
    late, early, waiting = (receive(app, limit=4) for _ in range(3))
    late.time_start, early.time_start = time.time() - 5, time.time()
    assert verdicts._the_one("task", verdicts._is_over) is late
    assert verdicts._the_one("task", lambda _: True) is None
    assert verdicts._the_one("another", lambda _: True) is None
    del early, waiting
    assert verdicts._the_one("task", lambda _: False) is late


def test_a_message_may_have_any_properties(app: Any) -> None:
    """What others say in them is no name of an attempt, and no attempt goes without its own."""
    known = receive(app)
    for properties in (None, "text", MagicMock(), {"x-llm-audit-attempt": 5}):
        request = Request(known.message, app=app)
        request.request_dict["properties"] = properties
        assert received.attempt_of(request) is None, properties
        received.note(sender=None, request=request)
        assert received.attempt_of(request), properties


def test_what_is_received_may_be_asked_for_meanwhile(app: Any) -> None:
    """Threads of a pool ask while the consumer receives and forgets; what is known is found."""
    known = receive(app)

    def receive_another(number: int) -> Request:
        request = Request(known.message, app=app)
        request.id = f"another {number}"
        received.note(sender=None, request=request)
        return request

    waiting = [receive_another(number) for number in range(200)]
    faults: list[Exception] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                assert received.requests_of("task") == [known]
            except Exception as error:  # noqa: BLE001
                faults.append(error)

    asking = threading.Thread(target=ask)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    asking.start()
    for number in range(2_000):
        receive_another(number)
    over.set()
    asking.join()
    sys.setswitchinterval(interval)
    assert faults == []
    assert all(received.requests_of(request.id) == [request] for request in waiting)


def test_a_stream_that_is_not_read_to_its_end_keeps_no_context(app: Any) -> None:
    """A suspended generator that entered a context in a task holds nothing in force after it."""
    celery_hooks.install(app)
    kept = []

    def stream() -> Iterator[int]:
        with audit_context(user_id="u"):
            yield from range(2)

    @app.task(shared=False)
    def read_some() -> None:
        assert current_context().user_id is None
        kept.append(stream())
        next(kept[-1])

    run = build_tracer(read_some.name, read_some, app=app)
    for number in range(3):
        run(f"task {number}", (), {}, {"id": f"task {number}"})
        assert current_context() is NOWHERE
    while kept:
        kept.pop(0).close()
        assert current_context() is NOWHERE


def test_a_worker_in_a_test_ends_no_call_of_the_test(
    app: Any, llm_audit_records: RecordedCalls
) -> None:
    """One that ran in a thread leaves alone what the test's own process has open."""
    celery_hooks.install(app)
    with LLMLogger.log_call(model="m", messages=[]) as call_id:
        test_worker_stopped.send(sender=app)
        assert call_id in open_calls().ids()
        LLMLogger.complete(call_id)
    (recorded,) = llm_audit_records
    assert recorded.status == "SUCCESS"


def test_a_celery_without_the_patch_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a shutdown cannot be listened to, all else is installed and comes off again."""
    for name in verdicts._CANCEL:
        monkeypatch.delattr(Consumer, name, raising=False)
    celery_hooks.install()
    celery_hooks.uninstall()

    assert not any(hasattr(Consumer, name) for name in verdicts._CANCEL)


def test_a_fault_of_ours_stops_no_shutdown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker cancels its tasks whatever becomes of recording that it does."""
    cancelled: list[Any] = []
    for name in verdicts._CANCEL:
        monkeypatch.setattr(Consumer, name, cancelled.append, raising=False)
    celery_hooks.install()
    monkeypatch.setattr(state, "active_requests", [None])
    consumer = SimpleNamespace(pool=None)
    Consumer.cancel_active_requests(consumer)

    assert cancelled == [consumer]
    assert "AttributeError" in caplog.text


def test_uninstalled_hooks_tag_nothing(app: Any) -> None:
    """After `uninstall` tasks run as if the hooks had never been there."""
    celery_hooks.install(app)
    celery_hooks.uninstall()

    assert seen_in(app).task_id is None


def test_coroutine_functions_are_warned_of_once(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whenever such a task comes to be known, one warning names it and the fix."""

    @app.task(name="early", shared=False, autoretry_for=(ValueError,))
    async def early() -> None: ...

    @app.task(name="plain", shared=False)
    def plain() -> None: ...

    celery_hooks.install(app)
    assert caplog.messages == []  # nobody knows yet what is registered
    app.finalize()
    celery_hooks.install(app)
    celery_hooks.install()

    (message,) = caplog.messages
    assert "Task early is `async def`" in message
    assert "asyncio.run" in message

    @app.task(name="late", shared=False, bind=True)
    async def late(self: object) -> None: ...

    celery_hooks.install(app)
    assert ["early" in caplog.messages[0], "late" in caplog.messages[1]] == [True, True]


def published(publish: Callable[[], object]) -> CallContext:
    """Return the context that a message carries."""
    messages: list[Any] = []

    def note(headers: Any = None, **_: Any) -> None:
        messages.append(SimpleNamespace(**headers, get=headers.get))

    celery.signals.after_task_publish.connect(note, weak=False)
    try:
        publish()
    finally:
        celery.signals.after_task_publish.disconnect(note)
    (message,) = messages
    return propagation.load(message)


def call() -> str:
    return LLMLogger.start(model="m", messages=[])


def test_what_is_published_in_a_context_is_in_its_trace(
    app: Any, llm_audit_records: RecordedCalls
) -> None:
    """Calls and tasks of one context share a trace, whichever comes first and opens it."""
    celery_hooks.install(app)

    def publish() -> object:
        return app.send_task("any")

    with audit_context(user_id="u"):
        first = call()
        assert published(publish).trace_id == first
    with audit_context(user_id="u"):
        opened = published(publish).trace_id
        assert opened == published(publish).trace_id
        with audit_context(session_id="s"):
            call()
    with audit_context(user_id="u", one_trace=False):
        assert published(publish) == CallContext(user_id="u")
    with LLMLogger.log_call(model="m", messages=[]) as block:
        assert published(publish) == CallContext(trace_id=block, parent_call_id=block)
    with audit_context(parent_call_id=first, one_trace=False):
        assert published(publish) == CallContext(trace_id=first, parent_call_id=first)

    assert published(publish) == CallContext()
    assert llm_audit_records[1].trace_id == opened
    assert opened not in {None, first}


def test_tasks_that_run_in_place_are_in_the_trace_of_the_context(
    app: Any, llm_audit_records: RecordedCalls
) -> None:
    """Without a context each eager task is a trace; in one they share that, and the parent's."""
    celery_hooks.install(app)
    app.conf.task_always_eager = True
    task = app.task(call, name="call", shared=False)

    apart = [task.delay(), task.delay()]
    with audit_context(user_id="u"):
        together = [call(), task.delay().result, task.delay().result]
    with LLMLogger.log_call(model="m", messages=[]) as block:
        task.delay()

    traces = [call.trace_id for call in llm_audit_records]
    assert traces == [*(result.id for result in apart), *[together[0]] * 3, block, block]


def test_a_context_comes_back_out_of_the_header() -> None:
    """Ids, tags and metadata survive the way through one string."""
    context = CallContext(
        trace_id="t", session_id="s", user_id="u", company_id="c", parent_call_id="p",
        review_id="r", call_type=LLMCallTypeEnum("PRODUCT_GAP"),
        tags=("a", "b"), metadata={"plan": "free", "depth": {"n": 1}},
    )  # fmt: skip

    carried = propagation.load({propagation.HEADER: propagation.dump(context)})
    assert carried == context
    assert isinstance(carried.call_type, LLMCallTypeEnum)


def test_an_empty_context_needs_no_header() -> None:
    """A producer without a context adds nothing to its messages."""
    assert propagation.dump(CallContext()) is None


def test_a_large_context_is_cut_and_says_so() -> None:
    """Metadata and then tags give way, ids stay, and a note names what was cut."""
    context = CallContext(
        trace_id="t", tags=tuple(f"tag-{n}" for n in range(2000)), metadata={"text": "x" * 9000}
    )
    carried = propagation.load({propagation.HEADER: propagation.dump(context)})

    assert len(propagation.dump(context) or "") <= propagation.MAX_BYTES
    assert (carried.trace_id, carried.tags) == ("t", ())
    assert (carried.metadata, carried.cut) == ({}, ("tags", "metadata"))


def test_metadata_that_is_no_json_never_fails_a_publish() -> None:
    """A value that JSON does not know travels as its text; a circular one is left out, and said."""
    circular: dict[str, Any] = {}
    circular["self"] = circular

    known = propagation.dump(CallContext(trace_id="t", metadata={"value": {1, 2}}))
    assert propagation.load({propagation.HEADER: known}).metadata == {"value": "{1, 2}"}
    cut = propagation.dump(CallContext(trace_id="t", metadata=circular))
    carried = propagation.load({propagation.HEADER: cut})
    assert (carried.trace_id, carried.metadata, carried.cut) == ("t", {}, ("metadata",))


def test_a_context_of_nothing_but_giants_still_fits() -> None:
    """When every part is cut, the note about it fits into the header."""
    names = propagation.ID_FIELDS
    giant = "x" * propagation.MAX_BYTES
    context = CallContext(**dict.fromkeys(names, giant), tags=(giant,), metadata={"text": giant})
    value = propagation.dump(context)

    assert value is not None
    assert len(value) <= propagation.CUT_MAX_BYTES
    carried = propagation.load({propagation.HEADER: value})
    assert (carried.cut, carried.metadata) == ((*names, "tags", "metadata"), {})
    again = propagation.load({propagation.HEADER: propagation.dump(carried)})
    assert again.cut == carried.cut, "the next task knows it, too"
    [note] = again.notes
    assert note.startswith("x-llm-audit-ctx: trace_id, session_id, ")


def test_what_was_cut_is_said_by_us_alone() -> None:
    """Neither metadata nor a header of somebody else's puts words into the notes."""
    metadata = {"context_cut": ["user_id"], "cut": ["tags"]}
    value = propagation.dump(CallContext(trace_id="t", metadata=metadata))
    carried = propagation.load({propagation.HEADER: value})
    assert (carried.metadata, carried.cut, carried.notes) == (metadata, (), ())

    for cut in (["evil", {"a": 1}, 5, None], "tags", {"tags": 1}, 5, True):
        forged = propagation.load({propagation.HEADER: json.dumps({"cut": cut})})
        assert (forged.cut, forged.notes) == ((), ()), cut


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"metadata": "x"}', '{"tags": 1}', '{"call_type": 7}']
)
def test_an_unreadable_header_is_no_context(text: str) -> None:
    """What another program put under our key does not break the task."""

    class Request(dict[str, Any]):
        headers = None

    assert propagation.load(Request({propagation.HEADER: text})) == CallContext()


def test_clients_are_instrumented_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the argument or by the setting; what the argument did is undone with the hooks."""
    for argument, variable, inside, afterwards in (
        (False, "", (), ()),
        (True, "", (ALL,), ()),
        (False, "openai", ("openai",), ("openai",)),
        (True, "openai", (ALL,), ()),
    ):
        monkeypatch.setenv("LLM_AUDIT_INSTRUMENT", variable)
        reset_settings()
        try:
            celery_hooks.install(celery.Celery(set_as_current=False), instrument=argument)
            assert Captured.clients == inside, (argument, variable)
            celery_hooks.uninstall()
            assert Captured.clients == afterwards, (argument, variable)
        finally:
            celery_hooks.uninstall()
            llm_audit.uninstrument()
