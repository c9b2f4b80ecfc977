"""A question as steps: written once, and carried out alike in sync and in async code.

A question is a generator. It yields what it wants to know next, is sent the answer, and returns the
result; who runs it knows how to ask MongoDB, and nothing of the question.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeAlias,
    TypeVar,
    get_args,
    overload,
)

from llm_audit.queries.pipelines import Pipeline
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from llm_audit.queries.repository import LLMCallRepository, SyncLLMCallRepository

Document: TypeAlias = dict[str, Any]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

LONGEST_MS = 2**31 - 1  # that MongoDB takes


class Enough(Exception):  # noqa: N818  (no error: nothing is wrong)
    """Raised by who takes documents one by one, and wants no more."""


class Each(NamedTuple):
    """The step that takes every document of a pipeline as it comes.

    Its first stage has to be a `$match`. The answer tells whether it came to its end: before that,
    it ends where `take` has `Enough`, and one with patience when its time is over.
    """

    pipeline: Pipeline
    take: Callable[[Document], object]
    batch_size: int | None = None  # as MongoDB likes
    patience_ms: int | None = None  # then what has come is all
    takes_long: bool = False  # and may: there is no time limit


class Content(NamedTuple):
    """The step that fetches a content from GridFS.

    The answer is its length if that is too much, and a `Problem` if it cannot be had.
    """

    sha256: str
    max_bytes: int


class ServerTime(NamedTuple):
    """The step that asks for the time by the server's clock, UTC."""


class Work(NamedTuple):
    """The step that computes what takes a moment: in async code, beside the event loop.

    The answer is what it returns.
    """

    compute: Callable[[], object]


Step: TypeAlias = Each | Content | ServerTime | Work
Steps: TypeAlias = Generator[Step, Any, R]


def rows(pipeline: Pipeline, read: Callable[[Document], T]) -> Steps[list[T]]:
    """Return what a pipeline gives.

    Args:
        pipeline: Its stages, a `$match` first.
        read: Makes a row of a document.
    """
    found: list[T] = []
    yield Each(pipeline, lambda document: found.append(read(document)))
    return found


def each(
    pipeline: Pipeline, take: Callable[[Document], object], *, batch_size: int | None = None
) -> Steps[None]:
    """Hand out what a pipeline gives, however much, one document after the other, and keep none.

    Args:
        pipeline: Its stages, a `$match` first.
        take: Is called with each document as it comes.
        batch_size: How many MongoDB sends at once.
    """
    yield Each(pipeline, take, batch_size, takes_long=True)


def query_limit_ms() -> int | None:
    """Return how long MongoDB may work on a question; None for as long as it takes."""
    seconds = get_settings().query_timeout_seconds
    return None if seconds is None else min(max(1, round(seconds * 1000)), LONGEST_MS)


class Question(Generic[P, R]):
    """A method of both repositories, async in the one and sync in the other."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[R]]) -> None:
        self.steps = steps
        functools.update_wrapper(self, steps)  # type: ignore[arg-type]

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """What users see: no self, and the result in place of the steps."""
        whole = inspect.signature(self.steps)
        _, *parameters = whole.parameters.values()
        result = get_args(whole.return_annotation)[-1]
        return whole.replace(parameters=parameters, return_annotation=result)

    def described(self, ask: Callable[..., T]) -> Callable[..., T]:
        """Return a function that asks the question, with its name, text and signature."""
        functools.update_wrapper(ask, self.steps)
        del ask.__wrapped__  # type: ignore[attr-defined]  # which has a self
        ask.__signature__ = self.signature  # type: ignore[attr-defined]
        return ask

    @overload
    def __get__(
        self, instance: "LLMCallRepository | None", owner: type["LLMCallRepository"]
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __get__(
        self, instance: "SyncLLMCallRepository", owner: type["SyncLLMCallRepository"]
    ) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        """Return the question as a function, asked of a repository."""
        return owner.asked(instance, self)


def question(steps: Callable[Concatenate[Any, P], Steps[R]]) -> Question[P, R]:
    """Make a generator method a question: awaited in the async repository, called in the sync one.

    Args:
        steps: The method.
    """
    return Question(steps)
