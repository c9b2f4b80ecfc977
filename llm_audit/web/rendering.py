"""Templates: what they know besides a page's own data, and how recorded text gets into them.

Everything that is put in is text: escaped, with characters visible that nobody sees. What is markup
already comes from `drawing/markup.py` alone.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from llm_audit.call import FAILURE_STATUSES, AtMost, LLMCallStatusEnum
from llm_audit.display import figures
from llm_audit.display.hidden import visible
from llm_audit.display.json_lines import iso_utc
from llm_audit.web.assets import asset_name
from llm_audit.web.in_a_shell import in_a_shell

NAME_MAX_CHARACTERS = AtMost().characters
_NAME = 60  # characters of one that is longer
BLANK = "(blank)"
UNKNOWN = "–"  # noqa: RUF001  (of a figure)


@cache
def templates() -> Environment:
    """Return the templates."""
    made = Environment(
        loader=PackageLoader("llm_audit.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters |= {
        "number": figures.number,
        "money": figures.money,
        "duration": figures.duration,
        "share": figures.share,
        "percent": lambda of_the_width: f"{of_the_width:.4g}%",
        "size": figures.size,
        "line": _line,
        "iso": lambda at: iso_utc(at) if isinstance(at, datetime) else "",
        "groupby_runs": _runs,
        "brief": _brief,
        "name": _name,
        "tail": lambda name: str(name).rpartition(".")[2],
    }
    made.globals |= {
        "asset_name": asset_name,
        "counted": figures.counted,
        "in_a_shell": in_a_shell,
        "STATUSES": frozenset(LLMCallStatusEnum),
        "FAILED": sorted(FAILURE_STATUSES),
    }
    return made


def rendered(name: str, values: Mapping[str, Any]) -> str:
    """Return a template as text.

    Args:
        name: Of its file, without `.html`.
        values: What it knows.
    """
    return templates().get_template(f"{name}.html").render(values)


def _brief(text: Any, longest: int = 60) -> str:
    """Return the beginning of a text that has its place elsewhere, in a line."""
    line = _line(str(text)[: 4 * longest])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _name(value: Any) -> str:
    """Return an id or a name whole, unless it is longer than any that is recorded."""
    text = str(value)
    if len(text) <= NAME_MAX_CHARACTERS:
        return text
    return f"{text[:_NAME]}… ({len(text):,} characters)"


def _line(text: Any) -> str:
    """Return a text in a line; of one that is blank, that it is, so that it can be clicked on."""
    return " ".join(str(text).split()) or (BLANK if text else "")


def _runs(items: Iterable[Any], name: str) -> list[tuple[Any, list[Any]]]:
    """Return items divided where an attribute changes, each part with its value."""
    return [(value, list(run)) for value, run in groupby(items, attrgetter(name))]


def _shown(value: Any) -> Any:
    """Return what stands on the page for a value."""
    if value is None or value == "":
        return UNKNOWN if value is None else ""
    if isinstance(value, Markup):
        return value
    text = visible(str(value))
    return UNKNOWN if text == figures.UNKNOWN else text
