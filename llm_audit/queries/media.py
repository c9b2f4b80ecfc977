"""A call as it was recorded: its large content fetched from GridFS and put back in its place."""

import hashlib

from llm_audit.encoding.moved import Problem, media_before, media_of, restore
from llm_audit.queries.steps import Content, Document, Each, Steps

MEDIA_MAX_BYTES = 2**28
CHECKED_MAX = 100  # contents


class TooMuch(Problem):
    """It was not fetched, and nothing is known to be wrong with it."""

    __slots__ = ()


_NOT_NAMED = Problem("the call's `media` does not name it")
_WANTED = Problem("it has not been fetched yet")
_ALTERED = Problem("it was altered: what is in GridFS has another sha256")


def restored(call: Document, max_bytes: int) -> Steps[Document]:
    """Return a call with its large content in place, and `media_problems`.

    What cannot be put back stays a reference, with its problem beside it.

    Args:
        call: A document as read from MongoDB.
        max_bytes: How much to fetch at the most.
    """
    media = _Media(call, max_bytes)
    while True:
        whole = restore(call, media.content, media_before(call))
        if not media.wanted:
            problems = {sha256: str(problem) for sha256, problem in media.problems.items()}
            return {**whole, "media_problems": problems}
        yield from media.fetch()


def checked(call: Document, max_bytes: int) -> Steps[dict[str, str]]:
    """Return which of the contents that a call's `media` names are not as recorded, and why.

    Args:
        call: A document as read from MongoDB.
        max_bytes: How much to look at; of the rest nothing is said.
    """
    media = _Media(call, max_bytes)
    media.wanted.extend(sorted(media_of(call))[:CHECKED_MAX])
    yield from media.fetch()
    found = media.problems.items()
    return {sha256: str(problem) for sha256, problem in found if type(problem) is not TooMuch}


def content_of(sha256: str, max_bytes: int) -> Steps[bytes | Problem]:
    """Return a content from GridFS, or why it cannot be had.

    Args:
        sha256: Of the content, which a call has to name: this is not looked at here.
        max_bytes: How much to fetch at the most.
    """
    found: bytes | int | Problem = yield Content(sha256, max_bytes)
    if isinstance(found, int):
        return TooMuch(f"its {found:,} bytes are too many")
    return found


class _Media:
    """What was fetched for one call, each content once.

    Attributes:
        wanted: What was asked for and has not been fetched yet.
        problems: Why contents are not there, by their sha256.
    """

    def __init__(self, call: Document, max_bytes: int) -> None:
        self.wanted: list[str] = []
        self.problems: dict[str, Problem] = {}
        self._contents: dict[str, bytes] = {}
        self._call_id = call["_id"]
        self._named = media_of(call)
        self._max_bytes = self._left = max_bytes

    def content(self, sha256: str) -> bytes | Problem:
        """Return a content, or why there is none; what was not fetched yet is wanted."""
        found = self._contents.get(sha256, self.problems.get(sha256))
        if found is None:
            self.wanted.append(sha256)
        return _WANTED if found is None else found

    def fetch(self) -> Steps[None]:
        """Fetch what is wanted."""
        if not self._named.issuperset(self.wanted):  # it is written a moment after the call
            this = {"_id": self._call_id}
            yield Each([{"$match": this}, {"$project": {"media": 1}}], self._look_again)
        for sha256 in dict.fromkeys(self.wanted):
            found = yield from self._fetched(sha256)
            if isinstance(found, Problem):
                self.problems[sha256] = found
            else:
                self._contents[sha256] = found
                self._left -= len(found)
        self.wanted.clear()

    def _fetched(self, sha256: str) -> Steps[bytes | Problem]:
        if sha256 not in self._named:
            return _NOT_NAMED
        found: bytes | int | Problem = yield Content(sha256, self._left)
        if isinstance(found, Problem):
            return found
        if isinstance(found, int):
            return TooMuch(f"its {found:,} bytes are too many: media_max_bytes={self._max_bytes:,}")
        return found if hashlib.sha256(found).hexdigest() == sha256 else _ALTERED

    def _look_again(self, call: Document) -> None:
        self._named |= media_of(call)
