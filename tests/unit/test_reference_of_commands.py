"""The page about the command line says what its help texts say."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

typer = pytest.importorskip("typer")

from llm_audit.cli.app import app  # noqa: E402
from llm_audit.cli.options import FILTERS  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
LEFT_OUT = {"--help", "--install-completion", "--show-completion"}


def commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for own, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {own}")
        else:
            yield f"{name} {own}", command


def option_table(options: list[Any]) -> list[str]:
    rows = ["", "| option | default | |", "| --- | --- | --- |"]
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.opts)
        value = f" {option.metavar}" if option.metavar else ""
        if not value and not option.is_flag:
            value = " NUMBER"
        default = "" if option.default in {None, False} else f"`{option.default}`"
        rows.append(f"| {names}{value} | {default} | {option.help or ''} |")
    return rows


def options_of(command: Any, *, filters: bool) -> list[Any]:
    return [
        parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        and not LEFT_OUT.intersection(parameter.opts)
        and (parameter.rich_help_panel == FILTERS) == filters
    ]


def section(name: str, command: Any) -> list[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([name, *(each.metavar for each in arguments), "[OPTIONS]"])
    lines = ["", f"## {name.removeprefix('llm-audit ')}", "", "```", usage, "```", ""]
    lines += [line.strip() for line in command.help.strip().split("\n")]
    described = [f"- `{each.metavar}`: {each.help}" for each in arguments if each.help]
    lines += ["", *described] if described else []
    if own := options_of(command, filters=False):
        lines += option_table(own)
    if filters := options_of(command, filters=True):
        since = next(option.show_default for option in filters if "--since" in option.opts)
        since = f"; `--since` is `{since}` if it is not given" if since is not True else ""
        missing = "".join(
            f", without `{name}`"
            for name in ("--status", "--prompt-of")
            if not any(name in o.opts for o in filters)
        )
        lines += ["", f"And the [filters](#filters){missing}{since}."]
    return lines


def reference() -> str:
    group = typer.main.get_command(app)
    found = dict(commands(group, "llm-audit"))
    lines = ["## Before the command", *option_table(options_of(group, filters=False))]
    lines += ["", "## Filters", *option_table(options_of(found["llm-audit calls"], filters=True))]
    for name, command in found.items():
        lines += section(name, command)
    return "\n".join(lines)


def test_every_command_is_in_the_reference() -> None:
    """The page ends in what the help texts say; replace that by what is shown here."""
    assert PAGE.read_text().endswith(f"\n{reference()}\n"), reference()


def test_without_the_extra_it_says_so() -> None:
    """Who installed no extra gets one line with the fix instead of a traceback."""
    script = (
        "import sys; sys.modules['typer'] = None;from llm_audit.cli import main; sys.exit(main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("needs an extra: pip install 'llm-audit[cli]'\n")
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_no_driver() -> None:
    """`llm-audit --help` is quick: it imports neither MongoDB's driver nor Beanie."""
    script = (
        "import sys; from llm_audit.cli import main; main(['--help']);"
        "print('heavy:', *sorted(sys.modules.keys() & {'beanie', 'bson', 'celery', 'pymongo'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "heavy:"
