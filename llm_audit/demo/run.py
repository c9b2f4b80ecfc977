"""The demo as a program: start everything, play, clean up, whatever signal comes and whenever."""

import asyncio
import io
import os
import shlex
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime

from pymongo.errors import PyMongoError
from rich.console import Console

import llm_audit
from llm_audit.demo import viewer
from llm_audit.demo.days_before import record_the_days_before
from llm_audit.demo.stage import Stage, stage
from llm_audit.demo.worker import CHILDREN
from llm_audit.errors import LLMAuditError
from llm_audit.settings.mongo_url import hosts_in

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.05
SIGNAL_EXIT = 128  # and the signal's number, as shells do


def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0, also for Ctrl-C after KEEP=1; 1 for an error; 130 for Ctrl-C before.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where a terminal cannot draw lines
    console = Console(markup=False, highlight=False)
    try:
        return asyncio.run(_until_a_signal(_demo(console, keep=bool(os.environ.get("KEEP")))))
    except LLMAuditError as error:
        print(error, file=sys.stderr)
    except PyMongoError as error:
        kind = type(error).__name__
        print(f"MongoDB cannot be used ({kind}): is LLM_AUDIT_MONGO_URL right?", file=sys.stderr)
    return 1


async def _until_a_signal(work: Coroutine[None, None, None]) -> int:
    """Let a signal end the work where it awaits something, and only the first one.

    So no signal cuts into starting a server or into cleaning up, however often Ctrl-C is pressed.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        return SIGNAL_EXIT + received[0]
    return 0


async def _demo(console: Console, *, keep: bool) -> None:
    with stage() as running:
        _introduce(console, running)
        from llm_audit.demo.play import play  # takes seconds, in which the worker starts too

        try:
            await play(console, running.worker)
            if keep:
                with suppress(asyncio.CancelledError):
                    await _keep(console, running)
        finally:
            console.print("Stopping the worker and the servers.", style="dim")


async def _keep(console: Console, running: Stage) -> None:
    """Leave everything up, with the viewer, until somebody ends it."""
    if not viewer.is_installed():
        console.print("`llm-audit ui` shows it in a browser: pip install 'llm-audit[web]'")
        _tell_where_everything_is(console, running)
        await asyncio.Event().wait()
    record_the_days_before(datetime.now(UTC))
    with viewer.Viewer(running.folder) as pages:
        while True:
            if address := pages.address():
                break
            await asyncio.sleep(POLL_SECONDS)
        llm_audit.flush()
        _tell_where_everything_is(console, running)
        console.print("Or in a browser", style="bold")
        console.print(f"    {address}", soft_wrap=True)
        console.print("    What is older than this demo is made up, and tagged so.", style="dim")
        await asyncio.Event().wait()


def _introduce(console: Console, running: Stage) -> None:
    mongod = running.mongod
    console.print("llm-audit, a demo on this machine", style="bold")
    for name, where, what in (
        ("mongod", hosts_in(mongod.url), f"pid {mongod.pid}" if mongod.pid else ""),
        ("redis-server", running.redis.address, f"pid {running.redis.pid}"),
        ("provider", running.environment["OPENAI_BASE_URL"], "speaks OpenAI's API"),
        ("Celery worker", f"prefork, {CHILDREN} children", f"pid {running.worker.pid}"),
    ):
        console.print(f"  {name:<15}{where:<35}{what}", soft_wrap=True)
    console.print()


def _tell_where_everything_is(console: Console, running: Stage) -> None:
    console.print("Everything stays up until Ctrl-C. From another terminal", style="bold")
    for name, value in running.environment.items():
        console.print(f"    export {name}={shlex.quote(value)}", soft_wrap=True)
    console.print("    llm-audit calls")
