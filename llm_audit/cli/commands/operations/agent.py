"""`llm-audit agent`: one process of a machine brings the journals of all the others to MongoDB."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_audit.cli.exits import FAILED, NO_SERVER, SIGNALLED, say
from llm_audit.display import figures
from llm_audit.errors import ConfigurationError, UsageError
from llm_audit.settings import Settings, get_settings

if TYPE_CHECKING:  # `llm-audit --help` needs no driver
    from llm_audit.agent.agent import Agent
    from llm_audit.agent.health import AgentState, Figures
    from llm_audit.metrics import Served

TOLD_SECONDS = 60.0
SERVICES_TOLD = 10


def agent(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Ship what is there now, then end: for cron or a job.")
    ] = False,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0, help="How many seconds --once may take.")
    ] = 60.0,
    health: Annotated[
        bool, typer.Option("--health", help="Print the state of this machine's agent, in one line.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, metavar="PORT", help="Serve Prometheus metrics; 0 for any free port."
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address on which metrics are served.")
    ] = "127.0.0.1",
) -> None:
    """Ship the calls of all processes on this machine that record with LLM_AUDIT_SHIPPER=agent.

    Use the same user, spool_dir, database and collection as these processes. Only the agent needs
    LLM_AUDIT_MONGO_URL. It runs until SIGTERM or Ctrl-C, and logs once a minute what it has
    shipped, if there was anything. A second agent waits until the first one ends, then takes over.

    Exit codes: --once gives 1 if something is left, and 3 if MongoDB cannot be reached. --health
    gives 1 if no agent runs or it is stuck, but 0 while MongoDB is away: the calls wait on disk.
    """
    settings = get_settings()
    if (health or once) and metrics_port is not None:
        raise UsageError(
            "--metrics-port is for an agent that keeps running: leave out --once and --health."
        )
    if health and once:
        raise UsageError("Use either --once or --health, not both.")
    if health:
        _tell_health(settings)
        return
    if not settings.enabled:
        raise ConfigurationError("LLM_AUDIT_ENABLED is false: nothing is shipped.")
    from llm_audit.agent.agent import Agent

    if once:
        with _of_our_user(settings):
            _ship_once(Agent(settings), timeout_seconds)
        return
    _ship(Agent(settings), settings, metrics_host, metrics_port)


def _ship(its: "Agent", settings: Settings, host: str, port: int | None) -> None:
    """Ship until a signal ends it."""
    served = None if port is None else _served(its, host, port)
    say(f"ships from {settings.spool_dir} to {settings.target_name('thread')}.")
    if served is not None:
        say(f"figures for Prometheus: {served.address}")
    try:
        with _ended_by_signals(its) as struck, _telling(its), _of_our_user(settings):
            its.run()
    finally:
        if served is not None:
            served.close()
    say(f"ends. {told(its.state())}")
    if struck and struck[0] != signal.SIGTERM:
        raise typer.Exit(SIGNALLED + struck[0])


def _tell_health(settings: Settings) -> None:
    from llm_audit.agent.health import examine

    its = examine(settings)
    if its.agent is None or not its.runs:
        print(figures.cell(_none_runs(settings)))
        raise typer.Exit(FAILED)
    who = f"pid {its.agent.pid} on {its.agent.host}"
    if not its.is_well:
        silence = figures.duration(its.silent_seconds * 1000)
        print(figures.cell(f"The agent, {who}, is stuck: no sign of life for {silence}."))
        raise typer.Exit(FAILED)
    print(figures.cell(f"The agent, {who}, is well. {told(its.state)}"))


def _none_runs(settings: Settings) -> str:
    from llm_audit.diagnosis.journals import unreadable_in

    unreadable = unreadable_in(settings)
    if unreadable:
        return f"Cannot tell whether an agent runs: {_not_for_us(unreadable[0])}"
    _, _, what = settings.target_name("agent").partition(", ")
    return f"No agent runs for {settings.spool_dir}, {what}: start `llm-audit agent`."


def _not_for_us(path: object) -> str:
    """Say what to do where the spool is another user's."""
    return (
        f"user {os.geteuid()} may not read {path}. Run the agent, and --health, as the user of the "
        "processes that record, or set spool_group (docs/how-to/agent.md)."
    )


@contextmanager
def _of_our_user(settings: Settings) -> Iterator[None]:
    """Say in the block what to do where the spool is another user's."""
    try:
        yield
    except PermissionError:
        raise UsageError(_not_for_us(settings.spool_dir)) from None


def _ship_once(its: "Agent", timeout_seconds: float) -> None:
    with _ended_by_signals(its) as struck:
        shipped = its.once(timeout_seconds)
    operations = figures.counted(shipped.operations, "operation")
    if shipped:
        print(f"{operations} shipped, nothing is left.")
        return
    why = f": {figures.cell(shipped.reason)}" if shipped.reason else ""
    print(f"{operations} shipped, {figures.size(shipped.left_bytes)} left{why}.")
    if struck:
        raise typer.Exit(SIGNALLED + struck[0])
    state = its.state()
    raise typer.Exit(NO_SERVER if state is not None and state.unavailable else FAILED)


def _served(its: "Agent", host: str, port: int) -> "Served":
    try:
        from llm_audit.metrics import AgentCollector, Served
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from None
    return Served(AgentCollector(its.state), host=host, port=port)


@contextmanager
def _ended_by_signals(its: "Agent") -> Iterator[list[int]]:
    """Have signals end it in order in the block, and a second one at once.

    That a terminal is gone is one of them; what is ignored, as under nohup, stays so. Gives a list
    in which those are that came.
    """
    before: dict[signal.Signals, Any] = {}
    struck: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        struck.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        its.stop()

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:
            before[each] = signal.signal(each, stop)
    try:
        yield struck
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _telling(its: "Agent") -> Iterator[None]:
    """Say now and then in the block what is shipped for whom, if that has changed."""
    over = threading.Event()

    def tell() -> None:
        said: object = None
        while not over.wait(TOLD_SECONDS):
            state = its.state()
            if state is not None and (news := _news(state)) != said:
                say(told(state))
                said = news

    teller = threading.Thread(target=tell, name="llm-audit-log", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join(1.0)


def _news(state: "AgentState") -> object:
    total = state.total()
    return state.processes, state.unavailable, total._replace(oldest_seconds=0.0)


def told(state: "AgentState | None") -> str:
    """Return in a line what an agent ships for whom, and what waits."""
    if state is None:
        return "It has shipped nothing yet."
    total = state.total()
    processes = f"{state.processes:,} process{'' if state.processes == 1 else 'es'}"
    shipped = f"{_shipped(total)} operations shipped since it started{_by_service(state)}"
    line = f"{processes}, {shipped}."
    if total.backlog_bytes:
        age = figures.duration(total.oldest_seconds * 1000)
        line += f" {figures.size(total.backlog_bytes)} wait, the oldest for {age}."
    if total.refused or total.dropped:
        line += (
            f" {total.refused:,} refused by MongoDB, {total.dropped:,} lost: llm-audit doctor "
            "says more."
        )
    if state.unavailable:
        line += f" MongoDB cannot be reached: {state.unavailable}"
    return line


def _by_service(state: "AgentState") -> str:
    """Return the same of those that recorded most."""
    most = sorted(state.services.items(), key=lambda pair: (-pair[1].recorded, pair[0]))
    if [name for name, _ in most] in ([], [""]):
        return ""
    parts = [f"{name or 'without a service'} {_shipped(its)}" for name, its in most[:SERVICES_TOLD]]
    more = f", and {len(most) - SERVICES_TOLD:,} more" if len(most) > SERVICES_TOLD else ""
    return f" ({', '.join(parts)}{more})"


def _shipped(its: "Figures") -> str:
    return f"{its.shipped:,} of {its.recorded:,}"
