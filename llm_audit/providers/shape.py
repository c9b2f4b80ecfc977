"""A row of the table of APIs: how one API spells what is recorded of an answer."""

from dataclasses import dataclass

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one API spells its answers.

    A path has a dot for each level down; a list on the way stands for its first item.

    Attributes:
        api: Its name.
        known_by: Paths in a body; where one of them leads to something, it is this API's. With a
            `=`, it has to lead to this text. Without one, only who knows what was asked knows it.
        answers: Paths in a body to lists that hold the answers; without one, the body is it.
        message: Paths from the answer to its message, or to the list that is its content; "" is
            the answer itself. Without one, its texts and tool calls are the message.
        finish_reason: Paths in the body.
        id: Paths in the body.
        model: Paths in the body.
        error: Paths in the body to the error that it holds instead of an answer, to the error's
            type, or, with a `=`, to this text in a body that is an error itself. One named `error`
            may be beside an answer, too.
        usage: Paths in the body; without one, the counts lie openly in body or answer.
        vectors: Paths in the body to the vectors of embeddings; of a list on the way, every item
            may have some.
        contents: Names in a message of what holds its blocks, or its text.
        texts: Names of a text in a message or block.
        thoughts: Names in a message of what the model thought before.
        calls: Names in a message of what holds nothing but tool calls.
        call_keys: Names in a block of the tool call that it is.
        call_types: Ends of the `type` of a block that is a tool call.
        result_keys: Names in a block of the tool's result that it is.
        result_types: Ends of the `type` of a block that is a tool's result.
        text_types: The `type` of a block that is text.
        thought_types: The `type` of a block that is what the model thought.
    """

    api: str = ""
    known_by: Names = ()
    answers: Names = ()
    message: Names = ()
    finish_reason: Names = ()
    id: Names = ()
    model: Names = ()
    error: Names = ("error",)
    usage: Names = ()
    vectors: Names = ()
    contents: Names = ()
    texts: Names = ()
    thoughts: Names = ()
    calls: Names = ()
    call_keys: Names = ()
    call_types: Names = ()
    result_keys: Names = ()
    result_types: Names = ()
    text_types: Names = ()
    thought_types: Names = ()
