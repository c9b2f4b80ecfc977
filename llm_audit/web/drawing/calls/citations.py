"""What an answer refers to: citations, as far as a provider names them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from llm_audit.web.drawing.markup import host_of

CITED_MAX = 40
_PLACES = frozenset(
    (
        *("citations", "annotations", "citationsContent", "citationMetadata", "citation_metadata"),
        *("groundingMetadata", "grounding_metadata", "search_results"),
    )
)
_TITLES = ("title", "document_title", "documentTitle", "name", "file_name", "filename")
_ADDRESSES = ("url", "uri")
_QUOTES = ("cited_text", "citedText", "text", "snippet", "quote")
_DEEPEST = 40


class Citation(NamedTuple):
    """Something that an answer refers to.

    Attributes:
        title: What it is called.
        address: Where it is on the web; None if nowhere.
        host: The host of that.
        quoted: What was quoted of it.
    """

    title: str
    address: str | None
    host: str
    quoted: str


def citations_in(answer: Any) -> tuple[list[Citation], list[Any]]:
    """Return what an answer refers to, each once, and the places of the document that say so.

    Args:
        answer: The stored response: its message, other choices, and the rest.
    """
    places = list(_places(answer, 0))
    found = (_citation(one) for place in places for one in _records(place, 0))
    return list(islice(dict.fromkeys(one for one in found if one), CITED_MAX + 1)), places


def _places(value: Any, level: int) -> Iterator[Any]:
    if level > _DEEPEST:
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in _PLACES and isinstance(item, list | Mapping) and item:
                yield item
            else:
                yield from _places(item, level + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _places(item, level + 1)


def _records(value: Any, level: int) -> Iterator[Mapping[str, Any]]:
    """Yield the innermost mappings that name a source."""
    if level > _DEEPEST:
        return
    if isinstance(value, Mapping):
        if _first(value, _TITLES) or _first(value, _ADDRESSES):
            yield value
            return
        for item in value.values():
            yield from _records(item, level + 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str) and host_of(item):
                yield {"url": item}
            else:
                yield from _records(item, level + 1)


def _citation(said: Mapping[str, Any]) -> Citation | None:
    address = _first(said, _ADDRESSES)
    host = host_of(address)
    title = _first(said, _TITLES) or address
    if not title:
        return None
    return Citation(title[:300], address if host else None, host, _first(said, _QUOTES)[:600])


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((v for n in names if isinstance(v := said.get(n), str) and v), "")
