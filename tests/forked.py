"""Tests in several processes, forked from one that has collected them: `pytest --forks 4`.

What tests import, and their collection, takes as long as hundreds of them: it is done once. Each
process has fixtures of its own, as with pytest-xdist, and takes the next tests when it is done with
its last.
"""

import gc
import multiprocessing
import os
import signal
import struct
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
from _pytest.scope import Scope

AT_A_TIME = 8  # tests of one module, which share its fixtures
NUMBER = struct.Struct("=i")
LOOKS_SECONDS = 1  # at a process that says nothing: is it alive?


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say in how many processes tests are run."""
    parser.addoption("--forks", type=int, default=0, help="Run tests in so many forked processes.")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in forked processes, and report here what they say."""
    count = session.config.getoption("forks")
    if not count or session.testsfailed or session.config.option.collectonly:
        return None
    shares = list(_shares(session.items))
    to_do, doing = os.pipe()
    os.set_blocking(doing, False)  # more than a pipe holds is an error
    os.write(doing, b"".join(map(NUMBER.pack, range(len(shares)))))
    os.close(doing)
    session.config._tmp_path_factory.getbasetemp()  # theirs lie within
    _flush(session.config)
    if find_spec("hypothesis"):
        import_module("hypothesis")  # it looks at what garbage collection has in view
    gc.freeze()  # nobody looks for garbage among what is shared, nor copies it by that
    running: dict[Connection, _Running] = {}
    for number in range(count):
        told, telling = multiprocessing.Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            for end in (told, *running):
                end.close()  # else nobody would notice that the parent is gone
            _become_a_process_of_tests(session.config, number, telling)
            _run(session, shares, to_do)
            telling.send(None)
            return True  # and end as pytest does
        telling.close()
        running[told] = _Running(pid)
    os.close(to_do)
    try:
        _report(session, running)
    finally:
        for told, process in running.items():  # where the run ends early
            told.close()
            os.kill(process.pid, signal.SIGINT)
        for process in running.values():
            os.waitpid(process.pid, 0)
    return True


def _shares(items: list[pytest.Item]) -> Iterator[list[pytest.Item]]:
    """Cut tests into what one process takes at a time, the quick ones last.

    So all processes end at about the same time.
    """
    ordered = sorted(items, key=lambda item: "unit" in item.path.parts)
    for have, alike in groupby(ordered, lambda item: _session_parameters(item) or item.path):
        tests = list(alike)
        at_a_time = len(tests) if isinstance(have, list) else AT_A_TIME
        for at in range(0, len(tests), at_a_time):
            yield tests[at : at + at_a_time]


def _session_parameters(item: pytest.Item) -> list[object]:
    """Return values each of which is set up anew, as a worker is for its pool: once is enough."""
    spec: Any = getattr(item, "callspec", None)
    if spec is None:
        return []
    return [spec.params[name] for name, scope in spec._arg2scope.items() if scope is Scope.Session]


class _Running:
    """A process of tests, as its parent sees it.

    Args:
        pid: Its own.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.test = "no test"
        self.failed = False
        self.said_all = False
        self.is_done = False

    def ended(self) -> int | None:
        """Return its exit status if it has ended."""
        pid, status = os.waitpid(self.pid, 0 if self.said_all else os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


def _report(session: pytest.Session, running: dict[Connection, _Running]) -> None:
    """Report what processes say, until the last has ended."""
    hook = session.config.hook
    while running:
        for told in wait(list(running), LOOKS_SECONDS) or list(running):
            process = running[told]
            try:
                said = told.recv() if told.poll() else ...
                process.is_done |= said is None
            except EOFError:
                said = None
            if said is ...:  # nothing
                pass
            elif said is None:
                process.said_all = True
            elif isinstance(said, dict):
                report = hook.pytest_report_from_serializable(config=session.config, data=said)
                process.failed |= report.failed
                hook.pytest_runtest_logreport(report=report)
            else:
                process.test, location = said
                hook.pytest_runtest_logstart(nodeid=process.test, location=location)
            if (said is None or said is ...) and (status := process.ended()) is not None:
                del running[told]
                told.close()
                expected = pytest.ExitCode.TESTS_FAILED if process.failed else 0
                if status != expected or not process.is_done:
                    session.shouldfail = f"a process ended with {status} in {process.test}"
        if stop := session.shouldfail or session.shouldstop:
            raise session.Failed(stop)


def _become_a_process_of_tests(config: pytest.Config, number: int, telling: Connection) -> None:
    """Give this child a folder and output of its own; what it says goes to its parent."""
    name = f"gw{number}"
    config.workerinput = {"workerid": name}  # as pytest-xdist says to plugins
    os.environ["PYTEST_XDIST_WORKER"] = name
    folders = config._tmp_path_factory
    folders._given_basetemp, folders._basetemp = folders.getbasetemp() / name, None
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # it is in a file that all have open
    capture.start_global_capturing()
    capture.suspend_global_capture()
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(_Telling(config, telling))


class _Telling:
    """Tells the parent what becomes of tests.

    Args:
        config: This process's.
        telling: To the parent.
    """

    def __init__(self, config: pytest.Config, telling: Connection) -> None:
        self._config = config
        self._telling = telling

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell which test is next."""
        self._telling.send((nodeid, location))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell what became of it."""
        hook = self._config.hook
        self._telling.send(hook.pytest_report_to_serializable(config=self._config, report=report))


def _run(session: pytest.Session, shares: list[list[pytest.Item]], to_do: int) -> None:
    """Run tests as long as there are some that nobody has taken."""
    tests = (test for share in _taken(shares, to_do) for test in share)
    test = next(tests, None)
    while test:
        following = next(tests, None)
        session.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        if stop := session.shouldfail or session.shouldstop:
            raise session.Failed(stop)
        test = following


def _taken(shares: list[list[pytest.Item]], to_do: int) -> Iterator[list[pytest.Item]]:
    while number := os.read(to_do, NUMBER.size):
        yield shares[NUMBER.unpack(number)[0]]


def _flush(config: pytest.Config) -> None:
    """Leave nothing in a buffer that each child would write too."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter:
        reporter.flush()
    sys.stdout.flush()
    sys.stderr.flush()
