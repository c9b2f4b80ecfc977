"""`llm-audit views`: read-only views for Compass, Grafana, Metabase and mongosh."""

import json
from typing import Annotated

import typer
from rich.text import Text

from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.options import AsJson
from llm_audit.settings import get_settings

app = typer.Typer(
    no_args_is_help=True, help="Views without what was said, for Compass, Grafana and mongosh."
)

CHANGE_STYLES = {"created": "green", "replaced": "yellow", "dropped": "yellow", "unchanged": "dim"}
ROLE, RECORDER_ROLE = "llm_audit_analyst", "llm_audit_recorder"


@app.command()
def create(*, as_json: AsJson = False) -> None:
    """Publish the views beside the calls, with the index that dates in them need.

    Do it again after an update of llm-audit: a view whose definition has changed is replaced.
    """
    from llm_audit.queries.publishing import create_views

    with collection_of_calls() as collection:
        changes = create_views(collection.database, collection.name)
    _print_changes(dict(changes), as_json=as_json)


@app.command()
def drop(*, as_json: AsJson = False) -> None:
    """Drop the views of these calls, and the index that was created with them."""
    from llm_audit.queries.publishing import drop_views

    with collection_of_calls() as collection:
        dropped = drop_views(collection.database, collection.name)
    if dropped or as_json:
        _print_changes(dict.fromkeys(dropped, "dropped"), as_json=as_json)
    else:
        terminal.console().print("There are no views of these calls.")


@app.command()
def role(
    *,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Of the role, else {ROLE} or {RECORDER_ROLE}."),
    ] = None,
    recorder: Annotated[
        bool, typer.Option("--recorder", help="That of the processes that record instead.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The command alone, in one line.")
    ] = False,
) -> None:
    """Print the role of who may read the views and nothing else, or of who may only record.

    MongoDB is not asked: an administrator runs it in mongosh, in the database of the calls.
    """
    from llm_audit.queries.publishing import analyst_role, recorder_role

    settings = get_settings()
    command = (
        recorder_role(settings.database, settings.collection, name or RECORDER_ROLE)
        if recorder
        else analyst_role(settings.database, name or ROLE)
    )
    print(json.dumps(command) if as_json else f"db.runCommand({json.dumps(command, indent=2)})")


def _print_changes(changes: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json_rows({"view": view, "change": change} for view, change in changes.items())
        return
    console = terminal.console()
    for view, change in changes.items():
        console.print(Text.assemble(f"{view:<20} ", (change, CHANGE_STYLES[change])))
