"""The hooks are put on other packages' classes, and taken off, without a trace."""

import copy
import importlib
import importlib.util
import inspect
import json
import pickle
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.endpoint
import httpx2
import pytest

import llm_audit
from llm_audit import UsageError
from llm_audit.capture.clients import CLIENTS
from llm_audit.capture.patches import Hook, _Patches, put_on, take_off
from llm_audit.recorder.captured import Captured
from llm_audit.testing import RecordedCalls

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(autouse=True)
def taken_off() -> Iterator[None]:
    """Leave nothing on."""
    yield
    llm_audit.uninstrument()
    assert not _Patches.put


def client(answer: Any = None) -> httpx2.Client:
    """Return a client that is answered in the same process."""

    def reply(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=answer or {"choices": []})

    return httpx2.Client(transport=httpx2.MockTransport(reply))


def test_instrument_is_idempotent_and_undone() -> None:
    """However often it is called, by however many threads, each method is wrapped once."""
    before = httpx2.Client.send, httpx2.AsyncClient.send, list(sys.meta_path)
    threads = [threading.Thread(target=llm_audit.instrument) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llm_audit.instrument("openai")

    assert Captured.clients == ("all",)
    assert vars(httpx2.Client)["send"].__wrapped__ is before[0]
    assert inspect.signature(httpx2.Client.send) == inspect.signature(before[0])
    assert inspect.iscoroutinefunction(httpx2.AsyncClient.send)
    assert httpx2.Client.send.__qualname__ == "Client.send"
    assert pickle.loads(pickle.dumps(httpx2.Client.send)) is httpx2.Client.send
    assert copy.deepcopy(httpx2.Client.send) is httpx2.Client.send
    llm_audit.uninstrument()
    assert (httpx2.Client.send, httpx2.AsyncClient.send, list(sys.meta_path)) == before


def test_unknown_names_change_nothing() -> None:
    """The error names what there is, and what was probably meant."""
    for names in (("opnai",), ("openai", "nobody"), (None,), ("",)):
        with pytest.raises(UsageError, match="openai, together") as error:
            llm_audit.instrument(*names)
        assert Captured.clients == ()
    assert "nobody" not in str(error.value)
    with pytest.raises(UsageError, match="Did you mean openai"):
        llm_audit.instrument("opnai")
    llm_audit.instrument("google_genai", "OpenAI")
    assert Captured.clients == ("google-genai", "openai")
    assert set(CLIENTS) >= {"anthropic", "bedrock", "litellm", "mistralai"}


def test_others_may_wrap_before_and_after(llm_audit_records: RecordedCalls) -> None:
    """A call is recorded once whoever stacks on us; what is no longer ours to undo does nothing."""
    seen = []
    original = httpx2.Client.send

    def spy(name: str, inner: Any) -> Any:
        def send(self: httpx2.Client, *args: Any, **kwargs: Any) -> httpx2.Response:
            seen.append(name)
            response: httpx2.Response = inner(self, *args, **kwargs)
            return response

        return send

    try:
        httpx2.Client.send = spy("before", httpx2.Client.send)  # type: ignore[method-assign]
        llm_audit.instrument()
        ours = httpx2.Client.send
        httpx2.Client.send = spy("after", ours)  # type: ignore[method-assign]
        client().post(URL, json=BODY)
        assert (seen, len(llm_audit_records)) == (["after", "before"], 1)
        llm_audit.uninstrument()
        client().post(URL, json=BODY)
        assert len(llm_audit_records) == 1
        llm_audit.instrument()  # perhaps twice now
        client().post(URL, json=BODY)
        assert len(llm_audit_records) == 2
    finally:
        httpx2.Client.send = ours  # type: ignore[method-assign]
        llm_audit.uninstrument()
        httpx2.Client.send = original  # type: ignore[method-assign]
        _Patches.put.clear()


def test_subclasses_stay_what_they_are(llm_audit_records: RecordedCalls) -> None:
    """A client of the app's own that overrides send and calls it above is recorded once."""

    class Own(httpx2.Client):
        def send(self, request: httpx2.Request, **kwargs: Any) -> httpx2.Response:
            request.headers["x-own"] = "1"
            return super().send(request, **kwargs)

    llm_audit.instrument()
    own = Own(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json={"choices": []})))
    assert own.post(URL, json=BODY).request.headers["x-own"] == "1"
    assert len(llm_audit_records) == 1
    assert isinstance(own, httpx2.Client)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write a package that nobody has imported."""
    (tmp_path / "late_client.py").write_text(
        "class Client:\n    def send(self):\n        return 'sent'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "late_client"
    sys.modules.pop("late_client", None)


def _wrap(original: Any) -> Any:
    def send(self: Any) -> str:
        return f"{original(self)}, seen"

    return send


def test_a_module_is_patched_when_it_is_imported(package: str) -> None:
    """Not before, and no trace is left: not on the module, nor among the finders."""
    hook = Hook(package, "Client", "send", _wrap)
    before = list(sys.meta_path)
    put_on([hook])
    assert package not in sys.modules
    assert importlib.util.find_spec("json.tool") is not None
    assert importlib.util.find_spec(package) is not None  # who only looks loads nothing
    module = importlib.import_module(package)

    assert module.Client().send() == "sent, seen"
    assert list(sys.meta_path) == before
    spec = module.__spec__
    assert spec is not None
    assert type(spec.loader).__name__ == type(module.__loader__).__name__ == "SourceFileLoader"
    assert inspect.getsource(module.Client.send).strip().startswith("def send")
    take_off()
    assert module.Client().send() == "sent"


def test_a_module_that_is_loaded_lazily_is_patched_when_it_is_used(package: str) -> None:
    """The loader of others is left to do its work."""
    put_on([Hook(package, "Client", "send", _wrap)])
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    loader.exec_module(module)

    assert module.Client().send() == "sent, seen"
    take_off()


def test_what_is_never_imported_is_never_missed(package: str) -> None:
    """A module that is not there raises what it would raise; taking off forgets the others."""
    before = list(sys.meta_path)
    put_on([Hook("no_such_module_at_all", "Client", "send", _wrap)])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_at_all")
    take_off()
    assert list(sys.meta_path) == before
    assert importlib.import_module(package).Client().send() == "sent"


def test_a_module_without_the_method_is_left_alone() -> None:
    """Another version, or another package of that name, has no class or no method of it."""
    module = ModuleType("odd_client")
    module.Client = "none"  # type: ignore[attr-defined]
    sys.modules["odd_client"] = module
    try:
        put_on([Hook("odd_client", "Client", "send", _wrap), Hook("odd_client", "No", "x", _wrap)])
    finally:
        del sys.modules["odd_client"]
        _Patches.missed -= {"odd_client.Client.send", "odd_client.No.x"}
    assert module.Client == "none"


ALIASED = """
import llm_audit, sys
{first}
assert not {{"httpx", "httpx2", "openai", "aiohttp", "botocore"}} & set(sys.modules)
import httpx2
httpx2.alias_httpx()
{second}
import httpx
assert httpx.Client is httpx2.Client
wrapped = vars(httpx.Client)["send"]
assert hasattr(wrapped, "__wrapped__") and not hasattr(wrapped.__wrapped__, "__wrapped__")
llm_audit.uninstrument()
assert not hasattr(vars(httpx.Client)["send"], "__wrapped__")
assert [f for f in sys.meta_path if "llm_audit" in type(f).__module__] == []
"""


@pytest.mark.parametrize("first", [True, False])
def test_one_class_under_two_names_is_wrapped_once(*, first: bool) -> None:
    """After alias_httpx() both modules are one."""
    line = "llm_audit.instrument()"
    script = ALIASED.format(first=line if first else "", second="" if first else line)
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_environment_is_heeded_by_configure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All, or some clients; names that there are not are said, and break nothing."""
    cases = (("all", ("all",)), ("openai, anthropic", ("anthropic", "openai")), ("no", ()))
    for said, clients in cases:
        monkeypatch.setenv("LLM_AUDIT_INSTRUMENT", said)
        assert Captured.clients == ()
        llm_audit.configure(service="s")
        assert Captured.clients == clients
        assert ("knows no client 'no'" in caplog.text) == (said == "no")
        llm_audit.uninstrument()


SLOW = """
import threading
begun, go_on = threading.Event(), threading.Event()


class Client:
    def send(self):
        return "sent"


begun.set()
assert go_on.wait(60)
"""


def test_a_module_that_another_thread_is_loading_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever loads it needs what whoever waits for it holds: neither may stop the other."""
    (tmp_path / "slow_client.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    hooks = [Hook("slow_client", "Client", "send", _wrap)]
    put_on(hooks)
    loading = threading.Thread(target=importlib.import_module, args=("slow_client",), daemon=True)
    loading.start()
    while "slow_client" not in sys.modules or not hasattr(sys.modules["slow_client"], "go_on"):
        time.sleep(0.001)
    module = sys.modules["slow_client"]
    assert module.begun.wait(60)
    again = threading.Thread(target=put_on, args=(hooks,), daemon=True)
    again.start()
    module.go_on.set()
    for thread in (loading, again):
        thread.join(60)
        assert not thread.is_alive()
    assert module.Client().send() == "sent, seen"
    take_off()
    del sys.modules["slow_client"]


ELSEWHERE = """
import sys
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
import gc, os, threading
import llm_audit
llm_audit.configure(spool_dir=sys.argv[2], mongo_url="mongodb://nowhere.invalid")
llm_audit.instrument()
import httpx2
from llm_audit.recorder.process import open_calls

class Body(httpx2.SyncByteStream):
    def __iter__(self):
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\\n\\n'
        gevent.sleep(0.01) if sys.argv[1] == "gevent" else None
        yield b"data: [DONE]\\n\\n"

def reply(request):
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

client = httpx2.Client(transport=httpx2.MockTransport(reply))

def opened():
    body = {"model": "m", "messages": [], "stream": True}
    url = "https://x.ai/v1/chat/completions"
    return client.send(client.build_request("POST", url, json=body), stream=True)

if sys.argv[1] == "gevent":
    import gevent
    def ask(number):
        with llm_audit.audit_context(user_id=number):
            opened().read()
    gevent.joinall([gevent.spawn(ask, number) for number in range(9)], raise_error=True)
    assert llm_audit.stats()["captured"] == 9
else:
    kept = opened()
    chunks = kept.iter_bytes()
    next(chunks)
    child = os.fork()
    if not child:
        opened().read()
        del kept, chunks
        gc.collect()
        stats = llm_audit.stats()
        os._exit(0 if (stats["captured"], stats["begun"], stats["recorded"]) == (1, 1, 2) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    list(chunks)
    assert llm_audit.stats()["captured"] == 1
assert llm_audit.stats()["capture_faults"] == 0
assert not open_calls().ids()
os._exit(0)
"""


@pytest.mark.parametrize("where", ["gevent", "fork"])
def test_hooks_work_in_greenlets_and_in_forked_children(where: str, tmp_path: Path) -> None:
    """Each greenlet has its own calls; a child says nothing of the calls of its parent."""
    if where == "gevent":
        pytest.importorskip("gevent")
    quiet = ("-W", "ignore::DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *quiet, "-c", ELSEWHERE, where, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


async def test_a_botocore_that_answers_later_is_let_through(
    llm_audit_records: RecordedCalls,
) -> None:
    """As aiobotocore's, which is made of it: what it asks is seen where it is sent."""

    class Later(botocore.endpoint.Endpoint):  # type: ignore[misc]
        async def _send_request(self, *_: Any) -> tuple[str, str]:
            return "response", "parsed"

    class Odd(botocore.endpoint.Endpoint):  # type: ignore[misc]
        def _send_request(self, *_: Any) -> str:
            return ""

    body = json.dumps({"messages": []})
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/m/converse"
    request = {"method": "POST", "url": url, "headers": {}, "body": body, "context": {}}
    llm_audit.instrument()
    endpoints = [kind(url, "bedrock", None, http_session=object()) for kind in (Later, Odd)]
    operation = types.SimpleNamespace(name="Converse")
    assert await endpoints[0].make_request(operation, request) == ("response", "parsed")
    assert len(llm_audit_records) == 0
    assert endpoints[1].make_request(operation, request) == ""
    assert len(llm_audit_records) == 1
