"""The reference pages say what the code says."""

import re
from pathlib import Path

from pydantic import SecretStr

from llm_audit import causes
from llm_audit.call import Kind, TaskFields, named
from llm_audit.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def settings_table() -> str:
    rows = ["| setting | default | |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = "" if default is None else f"`{default}`"
        if name == "spool_dir":
            shown = "in the user's state folder"
        rows.append(f"| `{name}` | {shown} | {field.description or ''} |")
    return "\n".join(rows)


def test_every_setting_is_in_the_reference() -> None:
    """The table of settings is that of the Settings class; replace it by the one shown here."""
    assert settings_table() in (REFERENCE / "settings.md").read_text()


def test_every_field_is_in_the_reference() -> None:
    """Each field of a call has its kind on the page about the document, each of a task its name."""
    page = (REFERENCE / "document.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    kinds = {(name, kind) for names, kind, *_ in rows for name in re.findall(r"`(\w+)`", names)}

    assert {(name, kind) for kind in Kind for name in named(kind)} <= kinds
    assert [name for name in TaskFields.model_fields if f"`{name}`" not in page] == []


def test_every_cause_is_in_the_reference() -> None:
    """Whatever `ended_by` may say is in the field's row and has a row of its own, nothing else."""
    page = (REFERENCE / "document.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `ended_by` |"))
    table = page.partition("## What `ended_by` says")[2].partition("\n\nWhich of them")[0]
    first = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]

    assert set(re.findall(r"`(\w+)`", row)) == {"ended_by", *causes.ALL}
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == {*causes.ALL}
