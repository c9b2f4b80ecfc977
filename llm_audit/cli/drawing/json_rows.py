"""What `--json` prints: one JSON document a line."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from llm_audit.display.json_lines import json_line, json_row


def print_json(row: Mapping[str, Any] | BaseModel) -> None:
    """Print one row as one line.

    Args:
        row: Whatever MongoDB returned, or a result of ours.
    """
    print(json_line(json_row(row)))


def print_json_rows(rows: Iterable[Mapping[str, Any] | BaseModel]) -> None:
    """Print rows, each as one line, and have them read at once."""
    for row in rows:
        print_json(row)
    sys.stdout.flush()
