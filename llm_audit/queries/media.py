"""A call as it was recorded: its large content fetched from GridFS and put back in its place."""

from llm_audit.encoding.encode import restore
from llm_audit.errors import MediaMissingError
from llm_audit.queries.steps import Content, Document, Steps


class _NotFetchedError(Exception):
    """A content is needed that has not been fetched yet."""


def restored(call: Document) -> Steps[Document]:
    """Return a call with its large content in place.

    Args:
        call: A document as read from MongoDB.

    Raises:
        MediaMissingError: Some of it is not in GridFS, or not whole.
    """
    contents: dict[str, bytes] = {}

    def fetched(sha256: str) -> bytes:
        if sha256 not in contents:
            raise _NotFetchedError(sha256)
        return contents[sha256]

    named = call.get("media")
    wanted = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    while True:
        for sha256 in wanted:
            content = yield Content(sha256)
            if content is None:
                raise MediaMissingError(
                    f"Content of the call {call['_id']} is missing from GridFS, or not whole: "
                    f"{sha256}. Without its media the call can be read."
                )
            contents[sha256] = content
        try:
            return dict(restore(call, fetched))
        except _NotFetchedError as error:  # `media` was not written yet when the call was read
            wanted = [str(error)]
