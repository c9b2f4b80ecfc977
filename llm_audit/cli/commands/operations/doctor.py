"""`llm-audit doctor`: is everything that was recorded in the database, and if not, where is it?"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.cli.commands.operations.spool import print_agents, print_journals
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json
from llm_audit.cli.exits import FAILED
from llm_audit.cli.options import AsJson
from llm_audit.display import figures

if TYPE_CHECKING:
    from llm_audit.diagnosis.results import Diagnosis, ProcessReport

ARRIVED = {
    True: ("all arrived", "green"),
    False: ("not all arrived", terminal.FAILURE),
    None: ("see below", "yellow"),
}


def doctor(
    *,
    pending_seconds: Annotated[
        float, typer.Option(min=0, help="Calls PENDING for longer are a problem.")
    ] = 3600.0,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove the media that no call refers to.")
    ] = False,
    all_media: Annotated[
        bool,
        typer.Option(
            "--all-media", help="Compare all media with their sha256, not only 64 MiB of them."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find out whether everything that was recorded is in MongoDB, and if not, where it is.

    Run it where the spool is. The exit code is 1 if there is something to look at, also where there
    is no collection of this name.
    """
    from llm_audit.diagnosis.doctor import doctor as examine

    diagnosis = examine(pending_seconds=pending_seconds, clean=clean, all_media=all_media)
    if as_json:
        print_json(diagnosis)
    else:
        _print_diagnosis(terminal.console(), diagnosis)
    if diagnosis.problems:
        raise typer.Exit(FAILED)


def _print_diagnosis(console: Console, diagnosis: "Diagnosis") -> None:
    if diagnosis.processes:
        console.print(terminal.heading("Processes", str(len(diagnosis.processes))))
        for process in diagnosis.processes:
            console.print(_process(process))
            if not process.everything_arrived:  # else there is no more to say
                terminal.print_wrapped(console, Text("    "), process.summary, "dim")
    left_out = sum(sum(process.content_left_out.values()) for process in diagnosis.processes)
    if left_out:
        calls = figures.counted(left_out, "call")
        console.print(f"Without their content, as the settings of these processes say: {calls}.")
    if diagnosis.journals:
        print_journals(console, diagnosis.journals)
    print_agents(console, diagnosis.agents)
    if diagnosis.cleaned:
        console.print(f"Removed from GridFS what no call referred to: {len(diagnosis.cleaned)}.")
    if diagnosis.unchecked_media:
        media = figures.counted(diagnosis.unchecked_media, "content")
        console.print(f"Not compared with their sha256: {media} in GridFS; --all-media.")
    if not diagnosis.problems:
        console.print("All is well.", style="bold green")
        return
    console.print(terminal.heading("To look at", str(len(diagnosis.problems))))
    for problem in diagnosis.problems:
        terminal.print_wrapped(console, Text("  ✗ ", terminal.FAILURE), problem)


def _process(process: "ProcessReport") -> Text:
    word, style = ARRIVED[process.everything_arrived]
    where = f"pid {process.pid} on {figures.cell(process.host)}"
    state = figures.cell(process.state)
    return Text.assemble(
        f"  {where:<28} {state:<10} {figures.number(process.recorded):>9} recorded, ",
        (word, style),
    )
