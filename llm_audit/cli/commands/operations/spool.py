"""`llm-audit spool`: the journals on this machine, and what to do about them."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json
from llm_audit.cli.exits import FAILED
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.errors import ConfigurationError
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from llm_audit.diagnosis.results import AgentReport, JournalReport

app = typer.Typer(no_args_is_help=True, help="The journals on this machine: look, ship, retry.")

STATE_STYLES = {
    "in use": "green",
    "adopted": "green",
    "waiting": "yellow",
    "other kernel": "yellow",
    "alive": "green",
    "ended": "yellow",
}


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show which journals wait on this machine to be shipped, and what was refused.

    It looks at the spool only, not at MongoDB, and takes nothing over.
    """
    from llm_audit.diagnosis.agents import examine_agents
    from llm_audit.diagnosis.journals import (
        doubtful_in,
        examine_journals,
        kept_aside,
        unreadable_in,
    )
    from llm_audit.diagnosis.problems_of_agents import of_agents_here

    settings = get_settings()
    agents = examine_agents(settings)
    journals, doubtful = examine_journals(settings), doubtful_in(settings)
    refused, damaged = kept_aside(settings)
    unreadable = unreadable_in(settings)
    if as_json:
        for report in (*journals, *agents):
            print_json(report)
        aside = (("rejected", refused), ("damaged", damaged), ("unreadable", unreadable))
        for state, paths in aside:
            for path in paths:
                print_json({"path": path, "state": state})
        for path, why in doubtful.items():
            print_json({"path": path, "state": "left alone", "why": why})
        return
    console = terminal.console()
    if journals:
        print_journals(console, journals)
    elif not unreadable:
        console.print(Text(f"No journals in {settings.spool_dir}.", overflow="fold"))
    print_agents(console, agents)
    for path in unreadable:
        why = " may not be read by this user: run this as the user of the processes that record."
        terminal.print_wrapped(console, Text("  ✗ ", terminal.FAILURE), f"{path}{why}")
    for problem in of_agents_here(journals, agents):
        terminal.print_wrapped(console, Text("  ✗ ", terminal.FAILURE), problem)
    _print_aside(console, refused, damaged, doubtful)


@app.command()
def drain(
    *,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait at the most.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Ship now what dead processes left on this machine, and close their open calls.

    Journals of living processes are shipped by these, or by their agent. The exit code is 1 if
    something is left, or that is not known when the time is over. The spool of another user is left
    alone, also by root.
    """
    from llm_audit import lifecycle
    from llm_audit.diagnosis.journals import OTHER_TARGET, WAITING, check_spool, examine_journals

    settings = get_settings()
    if not settings.enabled:
        raise ConfigurationError("LLM_AUDIT_ENABLED is false: nothing is shipped.")
    check_spool(settings)
    before = sum(journal.state == WAITING for journal in examine_journals(settings))
    with collection_of_calls() as collection:
        collection.database.command("ping")
    nothing_left = lifecycle.recover(timeout_seconds)
    lifecycle.shutdown()
    after = Counter(journal.state for journal in examine_journals(settings))
    left, for_others = after[WAITING], after[OTHER_TARGET]
    if as_json:
        print_json({"shipped": before - left, "left": left, "nothing_left": nothing_left})
    else:
        shipped = f"{figures.counted(before - left, 'journal')} of dead processes shipped"
        if nothing_left:
            end = ", nothing is left"
            if for_others:
                end += (
                    f" for these settings; {for_others:,} for others: llm-audit doctor says which"
                )
        elif left:
            end = f", {left:,} left: llm-audit doctor says why"
        else:  # the time was over before, or another process is at it
            end = "; whether something is left is not known: llm-audit doctor says more"
        terminal.console().print(f"{shipped}{end}.")
    if not nothing_left:
        raise typer.Exit(FAILED)


@app.command()
def retry(*, as_json: AsJson = False) -> None:
    """Send again what MongoDB refused, once its rules, a validator say, have been fixed.

    The exit code is 1 if something was refused again.
    """
    from llm_audit import lifecycle

    result = lifecycle.retry_rejected()
    if as_json:
        print_json({"arrived": result.arrived, "refused_again": result.refused_again})
    else:
        arrived = figures.counted(result.arrived, "record")
        terminal.console().print(f"{arrived} arrived, {result.refused_again:,} refused again.")
    if result.refused_again:
        raise typer.Exit(FAILED)


def _print_aside(
    console: Console, refused: list[str], damaged: list[str], doubtful: dict[str, str]
) -> None:
    for paths, fix in (
        (refused, "refused by MongoDB in every way: llm-audit doctor says more"),
        (damaged, "could not be read: bsondump shows what is left"),
    ):
        for path in paths:
            console.print(Text.assemble((path, terminal.FAILURE), f"  {fix}"), soft_wrap=True)
    for path, why in doubtful.items():
        told = f" {figures.cell(why)}: left alone, see llm-audit doctor"
        console.print(Text.assemble((figures.safe(path), terminal.FAILURE), told), soft_wrap=True)


def print_journals(console: Console, journals: "Sequence[JournalReport]") -> None:
    """Print the journals, oldest first, each with its folder in one line: a path is pasted."""
    console.print(terminal.heading("Journals", str(len(journals))))
    for journal in journals:
        age = "" if journal.age_seconds is None else figures.duration(journal.age_seconds * 1000)
        console.print(
            Text.assemble(
                f"  {f'pid {journal.pid} on {figures.cell(journal.host)}':<30} ",
                (f"{journal.state:<12}", STATE_STYLES.get(journal.state, terminal.FAILURE)),
                f" {figures.counted(journal.segments, 'segment')}, {figures.size(journal.bytes)}",
                f", {age} old" if age else "",
            )
        )
        console.print(f"    {figures.safe(journal.path)}", style="dim", soft_wrap=True)


def print_agents(console: Console, agents: "Sequence[AgentReport]") -> None:
    """Print the agents, if there are any, each with how far it is and where it ships to."""
    if agents:
        console.print(terminal.heading("Agents", str(len(agents))))
    for agent in agents:
        console.print(
            Text.assemble(
                f"  {f'pid {agent.pid} on {figures.cell(agent.host)}':<30} ",
                (f"{agent.state:<12}", STATE_STYLES.get(agent.state, terminal.FAILURE)),
                f" since {figures.moment(agent.started_at)}, last seen ",
                f"{figures.moment(agent.seen_at)}{_how_far(agent)}",
            )
        )
        console.print(f"    to {figures.cell(agent.target)}", style="dim", soft_wrap=True)


def _how_far(agent: "AgentReport") -> str:
    """Say how far an agent is; what one has said that has ended, or is frozen, holds no more."""
    if agent.state != "alive":
        return ""
    processes = figures.counted(agent.processes, "process")
    far = f": {processes}, {figures.size(agent.sums.backlog_bytes)} to ship"
    return far if agent.unavailable is None else f"{far}, MongoDB is away"
