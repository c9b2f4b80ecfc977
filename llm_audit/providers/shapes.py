"""The table of APIs: where each of them puts what is recorded of an answer.

All reading of answers and messages goes by this table, so an API is added by adding a row. Which
API a message comes from is not stored with it: messages are read by all rows together, `ANY`.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llm_audit.providers.fields import first_at
from llm_audit.providers.rows import by_message, said, unsaid
from llm_audit.providers.shape import Shape

SHAPES = (*said.ROWS, *unsaid.ROWS, *by_message.ROWS)


def _all_together() -> dict[str, Any]:
    """Return what all rows say in each column, each name once."""
    columns = (column.name for column in fields(Shape) if column.name != "api")
    words = {name: [word for shape in SHAPES for word in getattr(shape, name)] for name in columns}
    return {name: tuple(dict.fromkeys(each)) for name, each in words.items()}


_TOGETHER = _all_together()
# What is read as if any of them had sent it; what it calls "data" may be embeddings.
ANY = Shape(
    **_TOGETHER
    | {"known_by": (), "vectors": (), "message": ("message", "output.message", "output", "content")}
    | {"error": (*_TOGETHER["error"], "errors", "error_code", "type=error", "object=error")}
)
_MARKS = [
    (path.partition(".")[0], (path,), text or None, shape)
    for shape in SHAPES
    for path, _, text in (mark.partition("=") for mark in shape.known_by)
]
SHAPE_BY_API = {shape.api: shape for shape in SHAPES}


def shape_of(body: Mapping[str, Any]) -> Shape:
    """Return the row of the API that a response comes from; `ANY` if it is none of these.

    Args:
        body: The fields of the response.
    """
    for name, path, text, shape in _MARKS:
        if name in body:
            found = first_at(body, path)
            if found is not None and text in (None, found):
                return shape
    return ANY
