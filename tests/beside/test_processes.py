"""Greenlets and forks: real streams from a real server, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from beside.asking import PATH
from children import FLAGS
from replay.bodies import CHAT_STREAM
from replay.server import ReplayServer

pytest.importorskip("gevent")
BEGIN = """
import os, sys
url, folder = sys.argv[1:]
import llm_audit
from llm_audit.testing.records import recorded_nowhere
from pathlib import Path

def opened(client):
    body = {"model": "m", "messages": [], "stream": True}
    return client.send(client.build_request("POST", url, json=body), stream=True)
"""
GREENLETS = f"""
from gevent import monkey
monkey.patch_all()
import gevent, gevent.event
from contextlib import closing
{BEGIN}
import httpx2
with recorded_nowhere(Path(folder)) as calls:
    llm_audit.instrument()
    client = httpx2.Client()

    def read(number):
        with llm_audit.audit_context(user_id=number):
            response = opened(client)
            for chunk in response.iter_bytes():
                gevent.sleep(0)  # the others go on

    gevent.joinall([gevent.spawn(read, number) for number in range(9)], raise_error=True)
    assert [call.status for call in calls] == ["SUCCESS"] * 9, calls
    assert sorted(call.user_id for call in calls) == [*"012345678"]

    begun = gevent.event.Event()

    def wait():
        with closing(opened(client)) as response:
            for chunk in response.iter_bytes():
                begun.set()
                gevent.sleep(60)

    def too_long():
        with gevent.Timeout(0.2, False):
            wait()

    gevent.spawn(too_long).join()
    begun.clear()
    killed = gevent.spawn(wait)
    begun.wait()
    killed.kill()
    ends = [(call.status, call.ended_by) for call in calls[9:]]
    assert ends == [("TIMEOUT", "interrupted"), ("INCOMPLETE", "interrupted")], ends
    assert llm_audit.stats()["capture_faults"] == 0
"""
FORK = f"""
{BEGIN}
import httpx, httpx2
for module in (httpx, httpx2):
    with recorded_nowhere(Path(folder) / module.__name__) as calls:
        llm_audit.instrument()
        used = module.Client()
        response = opened(used)
        chunks = response.iter_bytes()
        read = [next(chunks)]
        child = os.fork()
        if not child:
            try:
                response.close()
                assert not llm_audit.stats()
                llm_audit.instrument()
                llm_audit.instrument("openai")
                with module.Client() as client:
                    opened(client).read()
                    assert llm_audit.stats()["captured"] == 1
                    llm_audit.uninstrument()
                    opened(client).read()
                assert llm_audit.stats()["captured"] == 1
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        read += chunks
        (call,) = [call for call in calls if call.pid == os.getpid()]
        assert call.status == "SUCCESS", call
        assert call.response_message["content"] == "word 0 word 1 word 2 "
        assert b"[DONE]" in b"".join(read)
        llm_audit.uninstrument()
        used.close()
"""


@pytest.mark.parametrize("script", [GREENLETS, FORK], ids=["gevent", "fork"])
def test_streams_of_greenlets_and_of_a_process_that_forks(
    script: str, chat_server: ReplayServer, tmp_path: Path
) -> None:
    """Each is recorded once, with how it ended; a child ends nothing of its parent's.

    Hooks are there in a child, once, if they are put on again, and can be taken off there.
    """
    chat_server.play(CHAT_STREAM)
    done = subprocess.run(
        [sys.executable, *FLAGS, "-c", script, chat_server.url + PATH, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
