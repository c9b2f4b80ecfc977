"""Signal handlers that strike while somebody waits for MongoDB: nobody waits for ever."""

import pytest
from children import output_of
from waiting import Recording

# Runs something where the interpreter runs signal handlers: as a function begins, and after a
# built-in one has returned; at each such place in turn, until all of them have been met.
STRIKE = """
import faulthandler, logging, sys, threading
import llm_audit
from llm_audit import LLMLogger
from nowhere import NOWHERE
from patience import PATIENCE

faulthandler.dump_traceback_later(PATIENCE, exit=True)
logging.disable()  # that MongoDB is not available is known
llm_audit.configure(mongo_url=NOWHERE, exit_timeout_seconds=0)
call_id = LLMLogger.start(model="m", messages=[])

class SoftTimeLimitExceeded(Exception):
    pass

def struck(wait, handler, number):
    places = 0
    def look(frame, event, argument):
        nonlocal places
        if event in ("call", "c_return"):
            places += 1
            if places == number:
                handler()
    sys.setprofile(look)
    try:
        wait()
    except SoftTimeLimitExceeded:
        pass
    finally:
        sys.setprofile(None)
    return places >= number

def strike_everywhere(wait, handler):
    number = 1
    while struck(wait, handler, number):
        number += 1
    return number

def is_free():
    other = threading.Thread(target=llm_audit.flush, args=(0.01,), daemon=True)
    other.start()
    other.join(PATIENCE)
    return not other.is_alive()

waits = [lambda: llm_audit.flush(0.005), lambda: call_id.wait(0.005)]
for wait in waits:
    wait()  # so that what is imported late is not torn in two
"""

RAISE = f"""{STRIKE}
def stop():
    raise SoftTimeLimitExceeded

for wait in waits:
    assert strike_everywhere(wait, stop) > 10
    assert is_free()
print("free")
"""

FLUSH = f"""{STRIKE}
for wait in waits:
    assert strike_everywhere(wait, lambda: llm_audit.flush(0)) > 10
    assert is_free()
print("free")
"""

RECORD = f"""{STRIKE}
for wait in waits:
    assert strike_everywhere(wait, lambda: LLMLogger.start(model="m", messages=[])) > 10
    assert is_free()
print("free")
"""

# The same with signals, at whatever places they strike.
RAISE_AT_RANDOM = f"""{STRIKE}
import signal

def stop(*_):
    raise SoftTimeLimitExceeded

signal.signal(signal.SIGALRM, stop)
met = 0
for number in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00002 * (1 + number % 10))
        while True:
            llm_audit.flush(0)
    except SoftTimeLimitExceeded:
        met += 1
assert met == 300
assert is_free()
print("free")
"""


@pytest.mark.parametrize(
    "script", [RAISE, FLUSH, RECORD, RAISE_AT_RANDOM], ids=["raise", "flush", "record", "random"]
)
def test_a_signal_handler_leaves_no_lock_held(recording: Recording, script: str) -> None:
    """Wherever it strikes, whether it raises, flushes or records: others can still wait, and end.

    Celery's soft time limit raises; a worker's handler of SIGTERM may flush.
    """
    assert output_of(script, recording()) == ["free"]
