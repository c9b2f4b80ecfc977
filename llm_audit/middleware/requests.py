"""What a request says of the calls that are made in it."""

import inspect
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from llm_audit.context import CallContext, SharedTrace, current_context, identifier, unite_tags
from llm_audit.context.faults import ContextFaults
from llm_audit.context.frames import Run

Request = MutableMapping[str, Any]  # ASGI's scope, WSGI's environ
Asked = Callable[[Request], object]
Metadata = Callable[[Request], Mapping[str, Any]] | Mapping[str, Any] | None


class OfRequests:
    """How to learn from a request who makes it; arguments are those of `AuditASGIMiddleware`."""

    def __init__(
        self,
        *,
        user: Asked | None,
        session: Asked | None,
        company: Asked | None,
        trace: Asked | None,
        tags: Iterable[str],
        metadata: Metadata,
    ) -> None:
        ids = {"user_id": user, "session_id": session, "company_id": company, "trace_id": trace}
        self._ids = {name: ask for name, ask in ids.items() if ask}
        self._tags = unite_tags((), tags)
        self._metadata = metadata

    def run(self, request: Request, *, one_trace: bool = True) -> Run:
        """Return what the app's code for a request runs in.

        Nothing is asked before the first call is made in it: what authentication has added to the
        request by then is there.

        Args:
            request: Scope or environ.
            one_trace: Whether all its calls share a trace.
        """
        outer = current_context()
        shared = outer.shared or (SharedTrace() if one_trace else None)

        def made() -> CallContext:
            with Run(outer):  # what is asked may record calls, too
                said = {name: _id(name, ask, request) for name, ask in self._ids.items()}
                metadata = _metadata(self._metadata, request)
            inner = outer.extended(tags=self._tags, metadata=metadata, **said)
            return replace(inner, shared=shared)

        return Run(make=made)


def _id(name: str, ask: Asked, request: Request) -> str | None:
    try:
        said = ask(request)
        if inspect.iscoroutine(said):
            said.close()
            raise TypeError(name)  # noqa: TRY301  (it is not awaited where a call is recorded)
        return None if said is None else identifier(name, said)
    except BaseException as fault:  # noqa: BLE001  (it is the app's code)
        ContextFaults.note(f"{name} of a request", fault)
        return None


def _metadata(given: Metadata, request: Request) -> Mapping[str, Any] | None:
    try:
        return given(request) if callable(given) else given
    except BaseException as fault:  # noqa: BLE001  (it is the app's code)
        ContextFaults.note("metadata of a request", fault)
        return None
