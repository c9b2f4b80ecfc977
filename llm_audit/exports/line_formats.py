"""What a line of an export is, for each format that has one call a line."""

import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from llm_audit.display.json_lines import ID, STORED_ID, extended_json, json_line, json_row
from llm_audit.exports.columns import fields_for, value_in
from llm_audit.exports.csv_lines import csv_line, csv_of, id_in_csv
from llm_audit.exports.fine_tuning import fine_tuning_example
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.steps import Document


class LineFormat(NamedTuple):
    """One call a line.

    Attributes:
        name: As the options name it.
        line: Makes the line of a call.
        header: The line before the first one, empty if there is none.
        head: How every line begins, empty if that says nothing.
        id_of: Returns the id of the call in a line, None for the header; raises ValueError,
            KeyError or TypeError where it is no such line. None if lines have no ids.
        stages: What MongoDB does with a call before it is a line.
        has_breaks: Whether a line may have line breaks in it, between quotes.
    """

    name: str
    line: Callable[[Document], str]
    header: str = ""
    head: str = ""
    id_of: Callable[[str], str | None] | None = None
    stages: Pipeline = []  # noqa: RUF012  (nobody changes it)
    has_breaks: bool = False


def plain_json_lines(columns: tuple[str, ...] | None) -> LineFormat:
    """Return plain JSON.

    Args:
        columns: The keys of a line; None for all that a call has.
    """
    if columns is None:
        return _json("jsonl", lambda call: json_line(json_row(call)), ID)
    keys = columns
    return _json(
        f"jsonl --columns {','.join(keys)}",
        lambda call: json_line({name: value_in(call, name) for name in keys}),
        ID if ID in keys else None,
        first=keys[0],
        stages=[{"$project": fields_for(keys)}],
    )


def extended_json_lines() -> LineFormat:
    """Return MongoDB's Extended JSON."""
    return _json("jsonl --extended-json", extended_json, STORED_ID)


def csv_lines(columns: tuple[str, ...]) -> LineFormat:
    """Return CSV.

    Args:
        columns: In their order.
    """
    return LineFormat(
        "csv",
        partial(csv_line, columns=columns),
        header=csv_of(columns),
        id_of=partial(id_in_csv, columns=columns) if ID in columns else None,
        stages=[{"$project": fields_for(columns)}],
        has_breaks=True,
    )


def fine_tuning_lines() -> LineFormat:
    """Return the examples that OpenAI's fine-tuning takes."""
    return LineFormat("openai", fine_tuning_example)


def _json(
    name: str,
    line: Callable[[Document], str],
    id_key: str | None,
    *,
    first: str | None = None,
    stages: Pipeline | None = None,
) -> LineFormat:
    id_of = None if id_key is None else partial(_id_in_json, key=id_key)
    head = f'{{"{first or id_key}": '
    return LineFormat(name, line, head=head, id_of=id_of, stages=stages or [])


def _id_in_json(line: str, key: str) -> str:
    call_id = json.loads(line)[key]
    if not isinstance(call_id, str):
        raise TypeError
    return call_id
