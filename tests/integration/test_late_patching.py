"""Apps that import llm_audit before gevent or eventlet patches: the hub turns, and calls arrive."""

from importlib.util import find_spec

import pytest
from children import child
from nowhere import NOWHERE
from patience import LONG
from waiting import Calls, Recording

# Waits for a server that is away, and counts how often a greenlet has its turn meanwhile; then
# records for a server that is there.
APP = """
import sys, warnings
from patience import PATIENCE
library, when, nowhere = sys.argv[1:]

def patch():
    warnings.simplefilter("ignore")  # that it is late, and that eventlet is deprecated
    if library == "gevent":
        from gevent import monkey
        monkey.patch_all()
    else:
        import eventlet
        eventlet.monkey_patch()

if when == "before":
    patch()
import llm_audit
from llm_audit import LLMLogger

def record():
    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(call_id)
    return call_id

there = llm_audit.settings.get_settings().mongo_url
llm_audit.configure(mongo_url=nowhere)
if when == "after the import":
    patch()
elif when == "after a record":
    record()
    patch()
if library == "gevent":
    from gevent import sleep, spawn
else:
    from eventlet import sleep, spawn
turns = 0

def turn():
    global turns
    while True:
        sleep(0.01)
        turns += 1

def turning(wait):
    global turns
    turns = 0
    wait()
    assert turns > 3, wait

spawn(turn)
record()
turning(lambda: llm_audit.flush(1))
turning(lambda: record().wait(1))
turning(lambda: llm_audit.recover(1))
turning(lambda: llm_audit.shutdown(1))
llm_audit.configure(mongo_url=there)
call_id = record()
assert call_id.wait(PATIENCE)
assert llm_audit.recover(PATIENCE)
assert llm_audit.shutdown(PATIENCE)
print(call_id)
"""

OFTEN = [("gevent", "after the import"), ("eventlet", "after the import")]
SELDOM = [("gevent", "before"), ("gevent", "after a record"), ("eventlet", "before")]


@pytest.mark.parametrize(("library", "when"), [*OFTEN, *SELDOM] if LONG else OFTEN)
def test_the_hub_turns(recording: Recording, calls: Calls, library: str, when: str) -> None:
    """While anything of ours waits, others have their turn, whenever threads became greenlets."""
    if find_spec(library) is None:  # not imported here: eventlet warns of every fork from then on
        pytest.skip(f"{library} is not installed")
    with child(APP, recording(), library, when, NOWHERE, anew=True) as process:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
    call_id = output.split()[-1]
    assert calls.count_documents({"_id": call_id, "status": "SUCCESS"}) == 1
