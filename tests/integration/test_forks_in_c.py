"""Forks that run no hooks of Python, in C as uWSGI's: the child finds out by itself."""

from pathlib import Path

import pytest
from agents_running import agent
from children import RECORD, assert_all_there, output_of, said
from forking_server import answers_of, serving
from patience import LONG
from waiting import Calls, Recording

pytestmark = pytest.mark.usefixtures("recording")

# Nobody tells our modules of a fork that is made so. Python itself is told: a fork in C that finds
# a thread waiting for the interpreter may hang, whatever the child does.
UNTOLD = """
import os, sys
os.register_at_fork, register = (lambda **_: None), os.register_at_fork
import llm_audit.logger, llm_audit.prices
os.register_at_fork = register
"""

# A thread that the child does not have holds every lock that is not the interpreter's own. What is
# said of the parent's calls in the child comes from elsewhere, and the parent's own word stands.
FORK_WITH_LOCKS_HELD = (
    UNTOLD
    + RECORD
    + """
import atexit, threading
from contextlib import ExitStack
from llm_audit.journal.spool.folder import Held
from llm_audit.prices import preload, price_list
from llm_audit.recorder.process import _Home, recorder
from llm_audit.settings import _InForce

held, done = threading.Event(), threading.Event()
preload()

def hold_all():
    of_all = [_Home.lock, _InForce.lock, Held.lock, price_list._loading]
    running = recorder()
    journal, acknowledged = running.journal, running.shipper.acknowledged
    of_it = [journal, journal.losses, acknowledged, _Home.open_calls]
    of_it = [lock for part in of_it for lock in vars(part).values() if hasattr(lock, "acquire")]
    assert len(of_it) > 3
    with ExitStack() as locks:
        for lock in (*of_all, *of_it):
            locks.enter_context(lock)
        held.set()
        done.wait()

def speak_of_the_parents(call_id):
    assert llm_audit.flush(0)
    assert llm_audit.stats() == {}
    LLMLogger.complete(call_id)
    assert call_id.wait(PATIENCE)

record(5)
messages = [{"role": "user", "content": str(os.getpid())}]
call_id = LLMLogger.start(model="m", messages=messages)
assert call_id.wait(PATIENCE)
thread = threading.Thread(target=hold_all, daemon=True)
thread.start()
assert held.wait(PATIENCE)
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        if number == 0:
            speak_of_the_parents(call_id)
        elif number == 1:
            llm_audit.configure(batch_size=7)
        first = threading.Thread(target=record)
        first.start()
        first.join()
        record(10)
        if number == 2:
            atexit._run_exitfuncs()
        else:
            assert llm_audit.shutdown(PATIENCE)
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
done.set()
thread.join()
record(5)
LLMLogger.fail(call_id, "the parent says so")
assert llm_audit.flush(PATIENCE)
"""
)


def test_children_of_a_fork_in_c_deliver(recording: Recording, calls: Calls) -> None:
    """Whatever is touched first, they record in journals of their own, and wait for no lock."""
    by_id = said(output_of(FORK_WITH_LOCKS_HELD, recording(), anew=True))
    assert len(set(by_id.values())) == 4
    assert_all_there(calls, by_id)
    (of_parent,) = calls.find({"status": {"$ne": "SUCCESS"}})
    assert (of_parent["status"], of_parent["error_message"]) == ("ERROR", "the parent says so")


# The hook that uuid_utils may have is not there either. The tails of ids are random alone.
IDS = """
import ctypes, os, sys, threading
register, os.register_at_fork = os.register_at_fork, lambda **_: None
import uuid_utils
if sys.argv[1] == "os":
    os.register_at_fork = register
from llm_audit.ids import new_call_id
from llm_audit.journal.precedence import Rank, outcome_key

fork = os.fork if sys.argv[1] == "os" else ctypes.PyDLL(None).fork
new_call_id()
for child in range(6):
    if fork() == 0:
        if child % 2:
            other = threading.Thread(target=new_call_id)
            other.start()
            other.join()
        ids = [new_call_id()[0] for _ in range(50)]
        lots = bytes(outcome_key(Rank.OWNER, 1.0) & 255 for _ in range(20)).hex()
        os.write(1, "".join(f"{lots} {call_id[-8:]}\\n" for call_id in ids).encode())
        os._exit(0)
for _ in range(6):
    os.wait()
"""


def test_children_draw_ids_of_their_own(recording: Recording) -> None:
    """Whoever forks, and whichever thread draws first in the child."""
    for kind in ("os", "c"):
        lots, tails = zip(
            *map(str.split, output_of(IDS, recording(), kind, anew=True)), strict=True
        )
        assert len(set(lots)) == 6, kind
        assert len(set(tails)) == 300, kind


# A thread is stopped in the middle of the import, as the shipping thread of a new process may be.
IMPORT = (
    UNTOLD
    + """
import builtins, importlib, threading
from llm_audit import prices
from llm_audit.runtime.forks import notice

load = {
    "genai_prices": prices.preload,
    "llm_audit": lambda: importlib.import_module("llm_audit.lifecycle"),
    "pymongo": lambda: importlib.import_module("pymongo.synchronous.auth"),
}[sys.argv[1]]
parent, reached, done = os.getpid(), threading.Event(), threading.Event()
usual = builtins.__import__

def stop(name, names=None, *rest):
    if names and names["__name__"].startswith(sys.argv[1]) and os.getpid() == parent:
        reached.set()
        done.wait()
    return usual(name, names, *rest)

builtins.__import__ = stop
thread = threading.Thread(target=load)
thread.start()
reached.wait()
pid = os.fork()
if pid == 0:
    notice()
    load()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
done.set()
thread.join()
"""
)


@pytest.mark.parametrize("package", ["genai_prices", "llm_audit", "pymongo"])
def test_a_child_imports_what_a_thread_was_importing(recording: Recording, package: str) -> None:
    """Ours, the price list and the driver are loaded anew: nobody is left to end what was begun."""
    output_of(IMPORT, recording(), package, anew=True)


OFTEN = ["uwsgi --enable-threads"]
SELDOM = [
    *("uwsgi --enable-threads --lazy-apps", "uwsgi --threads 2", "uwsgi --py-call-osafterfork"),
    *(
        "uwsgi",
        "gunicorn --preload",
        "gunicorn --preload -k gthread",
        "gunicorn --preload -k gevent",
    ),
]


@pytest.mark.parametrize("command", [*OFTEN, *SELDOM] if LONG else OFTEN)
def test_servers_that_fork(
    recording: Recording, calls: Calls, tmp_path: Path, command: str
) -> None:
    """Workers deliver what they record, and so does who recorded when the app was loaded."""
    with serving(recording(), tmp_path, *command.split()) as (url, printed):
        answers = answers_of(url, 12)
    by_id = said([line for line in [*answers, *printed()] if line])
    assert len(by_id) > 12
    assert_all_there(calls, by_id)


@pytest.mark.parametrize(
    "command", ["uwsgi", "gunicorn --preload -k gevent"] if LONG else ["uwsgi"]
)
def test_servers_that_fork_with_an_agent(
    recording: Recording, calls: Calls, tmp_path: Path, command: str
) -> None:
    """Also uWSGI's master, and its workers without threads: nobody needs any."""
    settings = recording(shipper="agent")
    with agent(settings):
        with serving(settings, tmp_path, *command.split()) as (url, printed):
            answers = answers_of(url, 12)
        by_id = said([line for line in [*answers, *printed()] if line])
        assert len(by_id) > 12
        assert_all_there(calls, by_id)
