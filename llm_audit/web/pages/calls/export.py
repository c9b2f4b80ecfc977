"""The calls that a list shows, as a file: streamed, so that it may be as long as it is."""

from collections.abc import AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse

from llm_audit.errors import UsageError
from llm_audit.exports.batches import Batch, batch_of
from llm_audit.exports.columns import PLAIN_COLUMNS, checked_columns
from llm_audit.exports.line_formats import (
    LineFormat,
    csv_lines,
    extended_json_lines,
    fine_tuning_lines,
    plain_json_lines,
)
from llm_audit.queries.filters import CallFilters
from llm_audit.web.asked import Asked

_TYPES = {"csv": "text/csv; charset=utf-8"}
_FORMS: dict[str, Callable[[tuple[str, ...] | None], LineFormat]] = {
    "jsonl": plain_json_lines,
    "csv": lambda columns: csv_lines(columns or PLAIN_COLUMNS),
    "openai": lambda _: fine_tuning_lines(),
    "extended": lambda _: extended_json_lines(),
}


async def export(asked: Asked) -> Response:
    """Answer with every call that matches, newest first, a line each.

    Raises:
        UsageError: There is no such format, or no such column; or failures are to be examples.
    """
    name = asked.one("format") or "jsonl"
    if name not in _FORMS:
        raise UsageError(f"format {name!r:.40}: there are {', '.join(_FORMS)}.")
    fields = asked.one("fields")
    form = _FORMS[name](None if fields is None else checked_columns(fields))
    filters = asked.filters()
    if name == "openai":  # of what failed there is no example
        if any(status.upper() != "SUCCESS" for status in asked.all("status")):
            raise UsageError("format openai takes successful calls only: leave out status.")
        filters = {**filters, "status": "SUCCESS"}
    # most of what is wrong shows itself here, before the answer has begun
    first = await asked.calls.ask(batch_of(form, filters, None))
    suffix = "csv" if name == "csv" else "jsonl"
    headers = {"content-disposition": f'attachment; filename="llm-calls.{suffix}"'}
    if asked.request.method == "HEAD":  # nobody would read it
        first = Batch("", None, is_last=True)
    body = _lines(asked, form, filters, first)
    media_type = _TYPES.get(name, "application/x-ndjson")
    return StreamingResponse(body, headers=headers, media_type=media_type)


async def _lines(
    asked: Asked, form: LineFormat, filters: CallFilters, batch: Batch
) -> AsyncIterator[str]:
    if form.header:
        yield f"{form.header}\n"
    while True:
        yield batch.text
        if batch.is_last:
            return
        batch = await asked.calls.ask(batch_of(form, filters, batch.last_id))
