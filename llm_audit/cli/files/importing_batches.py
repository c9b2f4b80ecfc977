"""`llm-audit import` of the files of a batch, as providers hand them out."""

import time
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from datetime import datetime
from io import BufferedReader
from itertools import islice
from typing import TYPE_CHECKING

from llm_audit import lifecycle
from llm_audit.batches import Batch, BatchCall, NoCallError, Requests, call_of, parsed_line
from llm_audit.cli.files.imported_calls import Refuse, refusing_the_rest, too_much_in
from llm_audit.cli.files.unpacking import lines_in
from llm_audit.errors import UnavailableError
from llm_audit.ids import first_id_at
from llm_audit.wire.batch_files import is_of_a_batch

if TYPE_CHECKING:
    from llm_audit.cli.connection import Documents

_BATCH = 500
_FLUSH_SECONDS = 60.0
_SUBMITTED_SECONDS = 35 * 86_400  # results are there for a month


def is_batch(stream: BufferedReader) -> bool:
    """Tell whether a file is of a batch, by its first line, if that is not too long."""
    first, _, _ = stream.peek().removeprefix(BOM_UTF8).lstrip().partition(b"\n")
    return is_of_a_batch(parsed_line(first))


def read_requests(stream: BufferedReader, name: str, requests: Requests, refuse: Refuse) -> None:
    """Take the requests of a file.

    Args:
        stream: Unpacked.
        name: Of the file, for what is refused.
        requests: Is given them.
        refuse: Is told, in a line each, what is no request.
    """
    for place, line in _readable(stream, name, refuse):
        if not requests.add(parsed_line(line)):
            refuse(f"{place}: it is no request of a batch, or there is no room for more")


def calls_in(
    stream: BufferedReader, name: str, requests: Requests, batch: Batch, refuse: Refuse
) -> Iterator[BatchCall]:
    """Yield the calls of a file of results.

    Args:
        stream: Unpacked.
        name: As of `read_requests`.
        requests: What was asked.
        batch: Of which they are.
        refuse: As of `read_requests`.
    """
    for place, line in _readable(stream, name, refuse):
        try:
            yield call_of(parsed_line(line), requests, batch)
        except NoCallError as why:
            refuse(f"{place}: {why}")


def _readable(stream: BufferedReader, name: str, refuse: Refuse) -> Iterator[tuple[str, bytes]]:
    with refusing_the_rest(name, refuse) as at:
        for number, line in lines_in(stream):
            at.place = f"line {number}"
            if (why := too_much_in(line)) or line is None:
                refuse(f"{name}, {at.place}: {why}")
            else:
                yield f"{name}, {at.place}", line


def submitted(collection: "Documents", batch: Batch) -> Batch:
    """Return a batch with the call that submitted it, if that was recorded.

    Args:
        collection: Of the calls.
        batch: As it was given.
    """
    if batch.batch_id is None:
        return batch
    since = (batch.at.timestamp() if batch.at else time.time()) - _SUBMITTED_SECONDS
    asked = {"response_id": batch.batch_id, "_id": {"$gte": first_id_at(since)}}
    call = collection.find_one(asked, {"created_at": 1, "trace_id": 1})
    if call is None:
        return batch
    at = call.get("created_at")
    return batch._replace(
        submitted_by=call["_id"],
        trace_id=call.get("trace_id"),
        at=batch.at or (at if isinstance(at, datetime) else None),
    )


def record(collection: "Documents", calls: Iterable[BatchCall]) -> Iterator[tuple[int, int]]:
    """Record calls that are not there; yield how many those are, and how many were there.

    Args:
        collection: Of the calls.
        calls: Of one file.

    Raises:
        UnavailableError: MongoDB has not acknowledged them; they are in the journal.
    """
    rest = iter(calls)
    while some := list(islice(rest, _BATCH)):
        new = {call.call_id: call for call in some}
        for known in collection.find({"_id": {"$in": list(new)}}, {"_id": 1}):
            del new[known["_id"]]
        for call in new.values():
            call.record()
        if not (result := lifecycle.flush(_FLUSH_SECONDS)):
            raise UnavailableError(f"Some calls are still in the journal: {result.reason}")
        yield len(new), len(some) - len(new)
