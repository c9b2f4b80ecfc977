"""A span that is being read: what takes long to find in it is looked for once."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from llm_audit.otel.spans import names
from llm_audit.otel.spans.messages import all_attributes
from llm_audit.otel.spans.span import Span
from llm_audit.otel.spans.values import as_dict, as_text
from llm_audit.providers.shapes import ANY, shape_of

_ASKS = ("messages", "input", "prompt", "contents", "inputText")
MODELS = ("model", "modelId", "model_name", "model_id")


class Told:
    """What a span tells.

    Args:
        span: It may still run.

    Attributes:
        attributes: With those of its events that hold content.
        body: Of the request, where the span has it as the API had it; else empty.
        parameters: Of the request, as far as they are in an object of their own.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.attributes: Mapping[str, Any] = all_attributes(span)
        self.body = self._body()
        self.parameters = as_dict(self.first(names.PARAMETERS))

    def first(self, spelled: tuple[str, ...]) -> Any:
        """Return what the first of these attributes holds that is there; None if none is."""
        return names.first(self.attributes, spelled)

    def text(self, spelled: tuple[str, ...]) -> str | None:
        """Return the same as a text."""
        return as_text(names.first(self.attributes, spelled))

    def _body(self) -> dict[str, Any]:
        for name in names.REQUEST_BODY:
            if name in self.attributes:
                body = as_dict(self.attributes[name])
                is_one = any(isinstance(body.get(model), str) for model in MODELS)
                if is_one and any(asks in body for asks in _ASKS):
                    return body
        return {}

    @cached_property
    def answer(self) -> dict[str, Any] | None:
        """The body of the response where the span has it as the API had it."""
        body = as_dict(self.first(names.RESPONSE_BODY))
        return body if body and shape_of(body) is not ANY else None

    @cached_property
    def models(self) -> tuple[str | None, str | None]:
        """The model that was asked for and the one that answered, as far as they are told."""
        asked, answered = self.text(names.REQUEST_MODEL), self.text(names.RESPONSE_MODEL)
        if asked is None:
            said = (self.body, self.parameters)
            named = (as_text(one[name]) for one in said for name in MODELS if one.get(name))
            asked = next(named, None)
        if asked is None or answered is None:
            either = self.text(names.ANY_MODEL)
            answered = either if asked is not None and answered is None else answered
            asked = asked or either
        return asked, answered
