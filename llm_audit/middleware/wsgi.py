"""For apps of Flask, Django's WSGI, Bottle, Pyramid, or any other of WSGI."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from llm_audit.context.frames import Run
from llm_audit.middleware.requests import Asked, OfRequests, Request

App = Callable[[Request, Callable[..., Any]], Iterable[bytes]]


class AuditWSGIMiddleware:
    """Gives all calls of a request one trace, and what the request says of them.

    That is in force while the app's code runs: until it has returned its response and, where that
    is a stream, at each step of it and when the server closes it. What is asked raises nothing into
    the app: a fault is counted, and the calls go without.

    Args:
        app: The app inside.
        user: Returns whom the calls are made for, given the environ; None if nobody is known.
        session: Returns the conversation.
        company: Returns the tenant.
        trace: Returns the trace, of a header say; by default each request has a new one.
        tags: Labels to filter by.
        metadata: Anything else by name, or what returns it.
    """

    def __init__(
        self,
        app: App,
        *,
        user: Asked | None = None,
        session: Asked | None = None,
        company: Asked | None = None,
        trace: Asked | None = None,
        tags: Iterable[str] = (),
        metadata: Callable[[Request], Mapping[str, Any]] | Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        self._of_requests = OfRequests(
            user=user,
            session=session,
            company=company,
            trace=trace,
            tags=tags,
            metadata=metadata,
        )

    def __call__(self, environ: Request, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        run = self._of_requests.run(environ)
        with run:
            body = self.app(environ, start_response)
        file_wrapper = environ.get("wsgi.file_wrapper")
        if type(body) in {list, tuple} or (
            isinstance(file_wrapper, type) and isinstance(body, file_wrapper)
        ):
            return body  # no code of the app's is in it; and servers look for these
        return (_SizedBody if hasattr(type(body), "__len__") else _Body)(body, run)


class _Body:
    """A response that the app makes step by step."""

    def __init__(self, body: Any, run: Run) -> None:
        self._body = body
        self._run = run
        self._steps: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._run:
            if self._steps is None:
                self._steps = iter(self._body)
            return next(self._steps)

    def close(self) -> None:
        """Close it, as servers do in any case."""
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._run:
                close()


class _SizedBody(_Body):
    """One that knows how many parts it has."""

    def __len__(self) -> int:
        return len(self._body)
