"""Every page of the viewer and what it may be asked, found by asking; and what stands on a page."""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_audit.web.asked import Asked
from llm_audit.web.parameters import FILTERS
from llm_audit.web.routes import PAGES, PARTS

ALL = (*PAGES, *PARTS)
OURS_ALONE = re.compile(r"/(?![/\\])[^\\\s]*|#[\w-]*|")  # a path here, or a place on the page
_LINKS = frozenset(
    ("href", "src", "action", "formaction", "poster", "srcset", "data", "xlink:href")
)
_LINKS_OF_PARTS = frozenset(("hx-get", "hx-post", "hx-put", "hx-delete", "hx-patch"))
_NEVER = frozenset(("style", "iframe", "object", "embed", "base", "frame", "applet", "math"))
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e0fff]"
)
_AWAY = frozenset(("noopener", "noreferrer", "nofollow"))


@contextmanager
def noted() -> Iterator[dict[str, set[str]]]:
    """Note which parameters each page looks at."""
    read: dict[str, set[str]] = defaultdict(set)

    def noting(name: str) -> Any:
        original = getattr(Asked, name)

        def look(self: Asked, parameter: str, *rest: Any) -> Any:
            path = self.request.scope["path"].removeprefix(self.request.scope.get("root_path", ""))
            read[path].add(parameter)
            return original(self, parameter, *rest)

        return look

    with pytest.MonkeyPatch.context() as patch:
        for name in ("one", "all"):
            patch.setattr(Asked, name, noting(name))
        yield read


def own_parameters(tab: TestClient, ids: dict[str, str]) -> dict[str, set[str]]:
    """Return the parameters of each page but those that every page has.

    Args:
        tab: On a viewer that has what the ids name.
        ids: Values for those parameters that a page asks for first.
    """
    with noted() as read:
        for path in ALL:
            for given in ({}, ids, {"format": "json"} | ids, {"show": "newest"} | ids):
                tab.get(path, params=given)
    return {path: read[path] - {*FILTERS} for path in ALL}


class Markup(HTMLParser):
    """What stands on a page, as a browser reads it: its links, and what ought not to be there."""

    def __init__(self, root: str = "") -> None:
        super().__init__()
        self.root = root
        self.links: list[str] = []
        self.wrong: list[str] = []
        self.nodes = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        self.nodes += 1
        given = dict(attrs)
        if tag in _NEVER or "zz" in tag:
            self.wrong.append(f"<{tag}>")
        if tag == "script" and not (given.get("src") or "").startswith(f"{self.root}/static/"):
            self.wrong.append("a script of somebody else's")
        if tag == "meta" and "http-equiv" in given:
            self.wrong.append("meta http-equiv")
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.wrong.append(f"{tag}: an attribute twice")
        for name, value in attrs:
            self._look_at(tag, name, value or "", given)

    def _look_at(self, tag: str, name: str, value: str, given: dict[str, str | None]) -> None:
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9:-]*", name) or "zz" in name:
            self.wrong.append(f"{tag}: an attribute of a strange name, {name!r:.60}")
        if name.startswith("on") or name in {"style", "srcdoc", "ping", "http-equiv"}:
            self.wrong.append(f"{tag} {name}={value!r:.60}")
        if name in _LINKS_OF_PARTS and not OURS_ALONE.fullmatch(value):
            self.wrong.append(f"{tag} {name}={value!r:.60}")
        if value.startswith("/") and name in {"href", "src", "hx-get"}:
            self.links.append(value)
        is_path = value.startswith("/") and name in _LINKS | _LINKS_OF_PARTS
        if is_path and not value.startswith(f"{self.root}/"):
            self.wrong.append(f"{tag} {name} leads out of the prefix: {value!r:.60}")
        if name in _LINKS:
            leads_away = tag == "a" and re.match(r"https?://", value)
            if leads_away and not set((given.get("rel") or "").split()) >= _AWAY:
                self.wrong.append(f"{tag}: leads away with its name, {value!r:.60}")
            if not leads_away and not OURS_ALONE.fullmatch(value):
                self.wrong.append(f"{tag} {name}={value!r:.60}")


def read(html: str, root: str = "") -> Markup:
    """Read a page."""
    page = Markup(root)
    page.feed(html)
    page.close()
    if found := _INVISIBLE.search(html):
        page.wrong.append(f"an invisible character, {found[0]!r}")
    return page
