"""Modules of ours that are run again, as by a notebook's `%autoreload`."""

from children import output_of
from waiting import Calls, Recording

from llm_audit.settings.names import PROCESSES

# Reloads every module of ours that is loaded, in several orders.
RELOAD = """
import importlib, logging, sys, threading
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import recorder
from patience import PATIENCE

logging.disable()  # the shipper may stumble over a module that is just empty, and says so

def reload(order):
    names = [name for name in sys.modules if name.split(".")[0] == "llm_audit"]
    for name in {"imported": names, "reversed": names[::-1], "sorted": sorted(names)}[order]:
        module = sys.modules[name]
        if getattr(module, "__file__", None) is None:
            continue
        loader = module.__loader__
        vars(module).clear()  # as `%autoreload` does, and `importlib.reload` does not
        vars(module).update(__name__=name, __loader__=loader)
        importlib.reload(module)

llm_audit.configure(service="kept", exit_timeout_seconds=PATIENCE)
before = recorder()
left = LLMLogger.start(model="left open", messages=[])
call_id = LLMLogger.start(model="ended afterwards", messages=[])
assert llm_audit.flush(PATIENCE)
for order in ("imported", "reversed", "sorted"):
    reload(order)
    assert sys.modules["llm_audit.recorder.process"].recorder() is before
    with LLMLogger.log_call(model=order, messages=[]) as inside:
        LLMLogger.complete(inside, response_message={"role": "assistant", "content": "hi"})
LLMLogger.complete(call_id)
assert llm_audit.flush(PATIENCE)
assert [thread.name for thread in threading.enumerate()].count("llm-audit-shipper") == 1
"""


def test_modules_that_are_reloaded_keep_the_recorder(recording: Recording, calls: Calls) -> None:
    """Afterwards there is still one recorder, and it knows its settings and its open calls."""
    assert output_of(RELOAD, recording(), anew=True) == []

    said = ("status", "ended_by", "service")
    assert {call["model"]: tuple(map(call.get, said)) for call in calls.find()} == {
        "imported": ("SUCCESS", None, "kept"),
        "reversed": ("SUCCESS", None, "kept"),
        "sorted": ("SUCCESS", None, "kept"),
        "ended afterwards": ("SUCCESS", None, "kept"),
        "left open": ("INCOMPLETE", "process_exit", "kept"),
    }
    assert [one["state"] for one in calls.database[PROCESSES].find()] == ["ended"]
