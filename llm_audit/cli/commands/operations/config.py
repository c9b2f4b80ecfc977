"""`llm-audit config`: the settings in force, and where each comes from."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.text import Text

from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.settings import Settings
from llm_audit.settings.mongo_url import without_secrets
from llm_audit.settings.reading import read


def config(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the settings in force and where each comes from; passwords are hidden.

    These are the settings of this shell: an app that calls llm_audit.configure() may have others.
    """
    rows = list(_settings(context.obj))
    if as_json:
        print_json_rows(rows)
        return
    table = terminal.table("setting", "value", "from", cut="value")
    table.columns[1].overflow = "fold"
    for row in rows:
        style = "dim" if row["source"] == "default" else ""
        value = "" if row["value"] is None else figures.safe(row["value"])
        table.add_row(Text(row["setting"], style), Text(value, style), Text(row["source"], style))
    terminal.console().print(table)


def _settings(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    settings = read({**options})
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name in options:
            source = f"--{name.replace('_', '-')}"
        elif name in settings.model_fields_set:
            source = f"LLM_AUDIT_{name.upper()}"
        else:
            source = "default"
        if name == "mongo_url":
            value = without_secrets(value.get_secret_value())
        yield {"setting": name, "value": _plain(value), "source": source}


def _plain(value: Any) -> str | float | None:
    """Return a value as it can be given again, as far as it can be written at all."""
    if isinstance(value, tuple):  # rules, by their names: others do not come from a shell
        return ",".join(str(rule) for rule in value)
    return value if isinstance(value, str | int | float | None) else str(value)
