"""Markdown that a stranger wrote -> markup that is inert. Nothing else makes markup of a text.

Raw HTML stays text, and images become what their text says: a page that is looked at asks nobody
for anything. Links lead to the web alone, and say where to.
"""

from functools import cache
from typing import Final
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from llm_audit.display.hidden import visible

MARKDOWN_MAX_BYTES: Final = 65_536
_TAGS: Final = frozenset(
    (
        *(
            "p",
            "br",
            "hr",
            "h3",
            "h4",
            "h5",
            "h6",
            "strong",
            "em",
            "s",
            "code",
            "pre",
            "blockquote",
        ),
        *("ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td"),
    )
)
_SCHEMES: Final = frozenset(("http", "https"))
_DEEPEST: Final = 20  # lists and quotes in each other
_HEADINGS: Final = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}


def markdown(text: str) -> Markup | None:
    """Return a text as markup; None if it is too long or too nested, and is better read as it is.

    Args:
        text: As it was recorded.
    """
    if len(text.encode(errors="replace")) > MARKDOWN_MAX_BYTES:
        return None
    parser = _parser()
    tokens = parser.parse(visible(text))
    if max((token.level for token in tokens), default=0) >= _DEEPEST - 1:
        return None  # deeper down, the parser leaves out what was written
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
        if token.children:
            token.children = _with_hosts(token.children)
    made = parser.renderer.render(tokens, parser.options, {})
    return Markup(  # noqa: S704  (cleaned here)
        nh3.clean(
            made,
            tags=set(_TAGS),
            attributes={"a": {"href"}, "*": set()},
            url_schemes=set(_SCHEMES),
            url_relative="deny",
            link_rel="noopener noreferrer nofollow",
        )
    )


@cache
def _parser() -> MarkdownIt:
    options = {"html": False, "linkify": False, "maxNesting": _DEEPEST}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"]).disable("image")


def _with_hosts(tokens: list[Token]) -> list[Token]:
    """Return what stands in a line, each link followed by the name of where it leads."""
    found: list[Token] = []
    hosts: list[str] = []
    for token in tokens:
        found.append(token)
        if token.type == "link_open":
            hosts.append(host_of(str(token.attrGet("href") or "")))
        elif token.type == "link_close" and hosts and (host := hosts.pop()):
            found.append(Token("text", "", 0, content=f" ({visible(host)})"))
    return found


def host_of(address: str) -> str:
    """Return the host that an address leads to; empty if it is none of the web."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ""
    return host if parts.scheme in _SCHEMES else ""
