"""A row of the table of APIs: how one API is asked, and how it answers in pieces."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_audit.call import LLMCallTypeEnum

Names = tuple[str, ...]


class Event(NamedTuple):
    """One piece of a stream.

    Attributes:
        name: What the stream calls it, or "".
        data: The JSON that it holds; a text if it holds none.
    """

    name: str
    data: Any


class Assembled(NamedTuple):
    """What the pieces of a stream make.

    Attributes:
        response: The body that the API would have answered in one piece, as far as it came.
        complete: Whether the stream came to the end that its API marks.
        finished: Whether the model came to its end, for whatever reason: then only the mark may be
            missing, which some leave out, or what follows of the usage.
        error: What the stream says that went wrong.
    """

    response: Any
    complete: bool
    finished: bool
    error: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # there is one of each
class Api:
    """How one API is asked.

    A path in a body has a dot for each level down. Of several the first that leads to something
    that the field takes counts.

    Attributes:
        api: Its name, that of its answers in the table of shapes if they are there.
        paths: Ends of the URL's path. `{id}` stands for any name, `{model}` for a model's, which
            may have slashes (`{model:path}`), its owner before it (`{model:hub}`, which it must
            have in `{model:owned}`), or begin with an @ (`{model:@}`).
        stream_paths: The same of what is always answered in pieces.
        results: The same of a GET for the result of what was asked before, `{result}` its id.
        call_type: What a call is for if nobody says so.
        needs: What the body of a request has: one of these sets of keys, divided by spaces. Without
            one, the path is enough.
        hosts: Parts of the names of hosts where no look at the body is needed.
        is_form: Whether the request may be a form (multipart). One that is sent from files is told
            by its path.
        model: Paths in the body of a request, as the following.
        messages: To a list.
        input: To anything.
        system_prompt: To anything.
        tools: To a list.
        tool_choice: To anything.
        temperature: To a number.
        max_tokens: To a whole number.
        texts_in_base64: Whether an AWS event stream of it has texts in base64, not JSON.
        assemble: What makes one answer of the pieces of a stream.
    """

    api: str
    paths: Names = ()
    stream_paths: Names = ()
    results: Names = ()
    call_type: LLMCallTypeEnum = LLMCallTypeEnum.CHAT
    needs: Names = ()
    hosts: Names = ()
    is_form: bool = False
    model: Names = ("model",)
    messages: Names = ()
    input: Names = ()
    system_prompt: Names = ()
    tools: Names = ()
    tool_choice: Names = ()
    temperature: Names = ()
    max_tokens: Names = ()
    texts_in_base64: bool = False
    assemble: Callable[[Iterable[Event]], Assembled] | None = None
