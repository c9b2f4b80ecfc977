"""What calls inherit from where they are made."""

import asyncio
import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from llm_audit import UsageError, audit_context, carry_context, configure
from llm_audit.context import CallContext, current_context, enter, leave


def test_inner_ids_replace_outer_ones() -> None:
    """An id given inside counts there; what is not given stays the outer one; both end."""
    with audit_context(trace_id="t", session_id="outer"):
        with audit_context(session_id="inner") as inner:
            assert current_context() is inner
            assert (inner.trace_id, inner.session_id) == ("t", "inner")
        assert current_context().session_id == "outer"
    assert current_context() == CallContext()


def test_tags_unite_in_order() -> None:
    """Tags of nested contexts are kept once each, in the order in which they were first named."""
    with audit_context(tags=["a", "b"]), audit_context(tags=["b", "c"]):
        assert current_context().tags == ("a", "b", "c")


def test_metadata_merge() -> None:
    """Metadata of nested contexts merge, the inner value of a name counts, the outer returns."""
    with audit_context(metadata={"plan": "free", "region": "eu"}):
        with audit_context(metadata={"plan": "paid"}):
            assert current_context().metadata == {"plan": "paid", "region": "eu"}
        assert current_context().metadata == {"plan": "free", "region": "eu"}


def test_metadata_is_what_it_was() -> None:
    """Changing the dict after entering changes no context."""
    given = {"plan": "free"}
    with audit_context(metadata=given):
        given["plan"] = "paid"
        assert current_context().metadata == {"plan": "free"}


def test_ids_become_str() -> None:
    """UUIDs and ints are accepted as ids and are str in the context."""
    user = UUID(int=5)
    with audit_context(user_id=user, company_id=7, task_id=user) as context:
        assert (context.user_id, context.company_id) == (str(user), "7")
        assert context.task_id == str(user)


def test_one_str_is_no_list_of_tags() -> None:
    """One str instead of a list of tags is a mistake, and outside strict mode it is one tag."""
    configure(strict=True)
    with pytest.raises(UsageError, match="tags"), audit_context(tags="beta"):
        pass
    configure(strict=False)
    with audit_context(tags="beta") as context:
        assert context.tags == ("beta",)


def test_an_exception_ends_the_context() -> None:
    """The outer context is back after an exception inside."""
    with pytest.raises(KeyError), audit_context(user_id="u"):
        raise KeyError
    assert current_context() == CallContext()


async def test_tasks_do_not_share_a_context() -> None:
    """Concurrent asyncio tasks each see their own ids, and those of where they were made."""

    async def work(name: str, both: asyncio.Barrier) -> tuple[str | None, str | None]:
        with audit_context(session_id=name):
            await both.wait()
            return current_context().trace_id, current_context().session_id

    with audit_context(trace_id="t"):
        both = asyncio.Barrier(2)
        seen = await asyncio.gather(work("a", both), work("b", both))
    assert seen == [("t", "a"), ("t", "b")]


def test_threads_inherit_what_is_carried_to_them() -> None:
    """A function bound with carry_context sees in a thread the ids of where it was bound."""
    with ThreadPoolExecutor(1) as executor, audit_context(user_id="u"):
        carried = executor.submit(carry_context(current_context)).result()
        assert carried.user_id == "u"


def test_a_carried_function_leaks_nothing() -> None:
    """What a carried function enters is not there for its next call, nor for the thread."""

    def work() -> str | None:
        before = current_context().session_id
        enter(CallContext(session_id="leaked"))
        return before

    with ThreadPoolExecutor(1) as executor:
        carried = carry_context(work)
        assert [executor.submit(carried).result() for _ in range(2)] == [None, None]
        assert executor.submit(current_context).result() == CallContext()


def test_leaving_in_another_context_restores_by_hand() -> None:
    """A generator closed in another contextvars.Context than it was begun in raises nothing."""

    def generator() -> Iterator[CallContext]:
        with audit_context(user_id="u"):
            yield current_context()

    begun = generator()
    assert contextvars.copy_context().run(next, begun).user_id == "u"
    begun.close()
    assert current_context() == CallContext()


def test_enter_and_leave_nest() -> None:
    """`leave` puts back what was in force before its `enter`."""
    outer = enter(CallContext(user_id="outer"))
    inner = enter(CallContext(user_id="inner"))
    leave(inner)
    assert current_context().user_id == "outer"
    leave(outer)
    assert current_context() == CallContext()
