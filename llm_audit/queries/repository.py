"""The two repositories, which ask every question there is: one in async code, one in sync code."""

import asyncio
import copy
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import gridfs
from beanie.exceptions import CollectionWasNotInitialized
from bson.errors import InvalidBSON
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import ExecutionTimeout, OperationFailure

from llm_audit.documents import LLMCall
from llm_audit.encoding.moved import Problem
from llm_audit.errors import NotInitializedError, UsageError
from llm_audit.ids import Id, id_text
from llm_audit.queries.lookup import with_instructions
from llm_audit.queries.questions import Questions
from llm_audit.queries.steps import (
    Content,
    Document,
    Each,
    Enough,
    Question,
    ServerTime,
    Step,
    Steps,
    Work,
    query_limit_ms,
)
from llm_audit.settings import get_settings
from llm_audit.store.answers.codes import only_this_is_refused
from llm_audit.store.answers.plain_errors import plain_errors
from llm_audit.store.answers.server_words import told
from llm_audit.store.connection import (
    Documents,
    client_of,
    readable,
    readable_only,
    server_time,
    server_time_async,
)
from llm_audit.store.loops import AsyncDocuments, in_this_loop

P = ParamSpec("P")
R = TypeVar("R")
_TURN_SECONDS = 0.01  # then others in the event loop have theirs
# The last are what GridFS raises for an entry with a length, say, that is no number.
_NOT_WHOLE = (
    *(gridfs.errors.NoFile, gridfs.errors.CorruptGridFile, InvalidBSON),
    *(TypeError, ValueError, LookupError, ArithmeticError, AttributeError),
)


class _Repository(Questions):
    """What both have in common: the tenant that every question is bound to, and its time."""

    def __init__(self) -> None:
        self._tenant: dict[str, str] = {}
        self._limit_ms: int | None = None

    def for_company(self, company_id: Id) -> Self:
        """Return a repository that knows the calls of one company only, whatever it is asked.

        Args:
            company_id: str, UUID or int, and never None or empty.

        Raises:
            UsageError: It is, or this repository is bound to another company.
        """
        return self._bound("company_id", company_id)

    def for_user(self, user_id: Id) -> Self:
        """Return a repository that knows the calls of one user only, whatever it is asked.

        Args:
            user_id: str, UUID or int, and never None or empty.

        Raises:
            UsageError: It is, or this repository is bound to another user.
        """
        return self._bound("user_id", user_id)

    def within(self, seconds: float) -> Self:
        """Return a repository whose questions MongoDB works on for so long at the most.

        Args:
            seconds: More than 0. If the setting `query_timeout_seconds` is less, that holds.
        """
        limited = copy.copy(self)
        limited._limit_ms = max(1, round(seconds * 1_000))  # noqa: SLF001  (it is one of these)
        return limited

    def _bound(self, field: str, value: Id) -> Self:
        text = id_text(field, value)
        if not text.strip():
            raise UsageError(f"{field} is empty: every question would be about nobody's calls.")
        if self._tenant.get(field, text) != text:
            raise UsageError(f"This repository is bound to another {field}: start from a new one.")
        bound = copy.copy(self)
        bound._tenant = self._tenant | {field: text}  # noqa: SLF001  (it is one of these)
        return bound

    def _command(self, step: Each) -> dict[str, Any]:
        """Return how a collection is asked, for the calls of the tenant only."""
        first, *others = step.pipeline
        if self._tenant:
            first = {"$match": {"$and": [self._tenant, first["$match"]]}}
        limits = [step.patience_ms, self._limit_ms]
        if step.patience_ms is None:
            limits.append(query_limit_ms())
        known = [] if step.takes_long else [limit for limit in limits if limit is not None]
        options = {"batchSize": step.batch_size, "maxTimeMS": min(known, default=None)}
        given = {name: value for name, value in options.items() if value is not None}
        return {"pipeline": [first, *others], **given}


class LLMCallRepository(_Repository):
    """Finds and sums up recorded calls, in async code.

        await llm_audit.init()
        calls = await LLMCallRepository.list_by_filters(user_id="u-1")

    The class itself asks the collection that `LLMCall` is bound to, by `llm_audit.init()` or an
    `init_beanie` that names it; so does an instance without a collection.

    Args:
        collection: Of PyMongo Async, to be asked instead.
    """

    def __init__(self, collection: AsyncDocuments | None = None) -> None:
        super().__init__()
        self._collection = collection

    @classmethod
    def asked(
        cls, repository: Self | None, question: Question[P, R]
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        """Return a question as a coroutine function.

        Args:
            repository: Whom to ask; a new one if it is asked of the class.
            question: What to ask.
        """
        answers = cls() if repository is None else repository

        async def ask(*args: P.args, **kwargs: P.kwargs) -> R:
            return await answers.ask(_asked(question, answers, *args, **kwargs))

        return question.described(ask)

    async def ask(self, steps: Steps[R]) -> R:
        """Carry out the steps of any question, and return its result.

        Args:
            steps: See `llm_audit.queries.steps`.
        """
        collection = self._calls()
        with plain_errors(collection):
            try:
                step = next(steps)
                while True:
                    step = steps.send(await self._answer(collection, step))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    async def _answer(self, collection: AsyncDocuments, step: Step) -> Any:
        if isinstance(step, Content):
            return await _content_async(collection, step)
        if isinstance(step, ServerTime):
            return await server_time_async(collection.database)
        if isinstance(step, Work):
            return await asyncio.to_thread(step.compute)
        with _patiently(step):
            turn = monotonic()
            async with await readable_only(collection).aggregate(**self._command(step)) as found:
                async for document in found:
                    step.take(document)
                    if monotonic() - turn > _TURN_SECONDS:
                        await asyncio.sleep(0)
                        turn = monotonic()
            return True
        return False

    def _calls(self) -> AsyncDocuments:
        if self._collection is not None:
            return readable(in_this_loop(self._collection))
        try:
            return LLMCall.get_pymongo_collection()
        except CollectionWasNotInitialized:
            raise NotInitializedError(
                "LLMCall is not bound to a database yet: `await llm_audit.init()` first, e.g. in "
                "the lifespan of your app. In code that is not async, there is "
                "SyncLLMCallRepository, which needs no init()."
            ) from None


class SyncLLMCallRepository(_Repository):
    """Finds and sums up recorded calls, in code that is not async: Celery, Django, a notebook.

        with SyncLLMCallRepository() as calls:
            print(calls.count_by_filters(user_id="u-1"))

    Nothing has to be set up before. It connects with the first question, may be shared by threads,
    and a forked child gets a connection of its own. Leaving the block, or `close()`, ends the
    connection; a later question opens another one.

    Args:
        collection: Of PyMongo, to be asked instead of the one in the settings.
    """

    def __init__(self, collection: Documents | None = None) -> None:
        super().__init__()
        self._collection = collection
        self._clients: dict[tuple[int, SecretStr], MongoClient[Document]] = {}  # by process and URL

    @classmethod
    def asked(cls, repository: Self | None, question: Question[P, R]) -> Callable[P, R]:
        """Return a question as a function.

        Args:
            repository: Whom to ask.
            question: What to ask.
        """
        if repository is None:
            return question.steps  # type: ignore[return-value]  # for help(), which asks nothing

        def ask(*args: P.args, **kwargs: P.kwargs) -> R:
            return repository.ask(_asked(question, repository, *args, **kwargs))

        return question.described(ask)

    def ask(self, steps: Steps[R]) -> R:
        """Carry out the steps of any question, and return its result.

        Args:
            steps: See `llm_audit.queries.steps`.
        """
        with plain_errors(self._collection if self._collection is not None else get_settings()):
            collection = self.collection
            try:
                step = next(steps)
                while True:
                    step = steps.send(self._answer(collection, step))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    @property
    def collection(self) -> Documents:
        """The collection that is asked.

        Raises:
            UnavailableError: mongo_url cannot be used.
        """
        if self._collection is not None:
            return readable(self._collection)
        settings = get_settings()
        key = (os.getpid(), settings.mongo_url)
        client = self._clients.get(key)
        if client is None:
            opened = client_of(settings)
            client = self._clients.setdefault(key, opened)
            if client is not opened:  # another thread was a moment faster
                opened.close()
        return readable(client[settings.database][settings.collection])

    def close(self) -> None:
        """End the connection, unless the collection was given."""
        for key in [key for key in self._clients if key[0] == os.getpid()]:
            self._clients.pop(key).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self, collection: Documents, step: Step) -> Any:
        if isinstance(step, Content):
            return _content(collection, step)
        if isinstance(step, ServerTime):
            return server_time(collection.database)
        if isinstance(step, Work):
            return step.compute()
        with _patiently(step):
            with readable_only(collection).aggregate(**self._command(step)) as found:
                for document in found:
                    step.take(document)
            return True
        return False


def _asked(
    question: Question[P, R], repository: Questions, *args: P.args, **kwargs: P.kwargs
) -> Steps[R]:
    """Return the steps of a question, with what a filter names looked up before."""
    given: dict[str, Any] = kwargs
    if "prompt_of" in given:
        given = yield from with_instructions(given)
    return (yield from question.steps(repository, *args, **given))


@contextmanager
def _patiently(step: Each) -> Iterator[None]:
    """Be content with what has come when that is enough, or a step's time is over."""
    try:
        yield
    except Enough:
        return
    except ExecutionTimeout:
        if step.patience_ms is None:
            raise


def _content(collection: Documents, step: Content) -> bytes | int | Problem:
    try:
        found = gridfs.GridFSBucket(collection.database).open_download_stream(step.sha256)
        return int(found.length) if found.length > step.max_bytes else found.read()
    except (OperationFailure, *_NOT_WHOLE) as error:
        return _problem(error)


async def _content_async(collection: AsyncDocuments, step: Content) -> bytes | int | Problem:
    bucket = gridfs.AsyncGridFSBucket(collection.database)
    try:
        found = await bucket.open_download_stream(step.sha256)
        return int(found.length) if found.length > step.max_bytes else await found.read()
    except (OperationFailure, *_NOT_WHOLE) as error:
        return _problem(error)


def _problem(error: Exception) -> Problem:
    """Return why a content cannot be read; what concerns all that is asked comes out."""
    if not isinstance(error, OperationFailure):
        return Problem("it is missing from GridFS, or not whole")
    if only_this_is_refused(error):
        return Problem(f"MongoDB does not let it be read: {told(error)}")
    raise error
