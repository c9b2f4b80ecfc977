"""Real servers, uWSGI and gunicorn, with two workers that record."""

import contextlib
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from children import environment
from patience import PATIENCE
from waiting import until

from llm_audit.settings import Settings

# Says which process has recorded which call: the first when it is loaded, the others in answers.
APP = """
import os
import llm_audit
from llm_audit import LLMLogger

def record():
    messages = [{"role": "user", "content": str(os.getpid())}]
    call_id = LLMLogger.start(model="m", messages=messages)
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "y"})
    return f"{os.getpid()} {call_id}"

print("recorded", record(), flush=True)

def application(environ, start_response):
    said = record()
    arrived = llm_audit.flush(float(environ["QUERY_STRING"]))
    start_response("200 OK" if arrived else "500 It has not arrived", [])
    return [said.encode()]
"""

COMMANDS = {
    "uwsgi": "--http-socket {address} --wsgi-file app.py --master --processes 2 --die-on-term "
    "--need-app --virtualenv {python} --pythonpath {root}",
    "gunicorn": "app:application -b {address} --workers 2",
}


@contextmanager
def serving(
    settings: Settings, folder: Path, name: str, *options: str
) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Serve until the block is left; give the URL, and what returns who said "recorded".

    Args:
        settings: To record with.
        folder: For the app and the log.
        name: "uwsgi" or "gunicorn".
        *options: Of its command line, beside those that it needs.
    """
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"{name} is not installed")
    (folder / "app.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
    command = [
        each.format(address=address, python=sys.prefix, root=Path(__file__).parents[1])
        for each in COMMANDS[name].split()
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [program, *command, *options],
            cwd=folder,
            env=environment(settings),
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: server.poll() is not None or _listens(address))
        yield (
            f"http://{address}/",
            lambda: [
                line.partition(" ")[2]
                for line in (folder / "log").read_text().splitlines()
                if line.startswith("recorded")
            ],
        )
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)
        server.kill()
        server.wait()


def answers_of(url: str, count: int) -> list[str]:
    """Return what so many requests are answered, some of them at once."""

    def ask(_: int) -> str:
        with urllib.request.urlopen(f"{url}?{PATIENCE / 2}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    with ThreadPoolExecutor(4) as executor:
        return list(executor.map(ask, range(count)))


def _listens(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True
