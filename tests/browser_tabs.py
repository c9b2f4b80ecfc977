"""A tab of a real browser, which takes note of all that a page must not do."""

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from patience import PATIENCE

OURS = ("127.0.0.1", "shop.test", "evil.test")
_NOTES = """
document.addEventListener("htmx:finally:swap", event => { event.target.dataset.swapped = ""; });
addEventListener("securitypolicyviolation", event =>
  console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`))
"""
_LOADED = """document.readyState == "complete"
  && !document.querySelector('[hx-trigger="load"]:not([data-swapped])')"""


class Tab:
    """A tab, and what was noticed in it.

    Args:
        context: Of the browser; this is its only tab.

    Attributes:
        page: Playwright's.
        noticed: Errors and warnings of the console, requests that failed or went elsewhere.
    """

    def __init__(self, context: Any) -> None:
        self.noticed: list[str] = []
        context.add_init_script(_NOTES)
        self.page = page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.noticed.append(f"error: {error}"))
        page.on("requestfailed", lambda each: self.noticed.append(f"failed: {each.url}"))
        page.on("request", self._asked)
        page.on("response", self._answered)

    def goto(self, path: str) -> Any:
        """Open a page, wait for its parts, and return the answer."""
        answer = self.page.goto(path)
        self.loaded()
        return answer

    def loaded(self) -> None:
        """Wait until all that the page loads by itself is there."""
        self.until(_LOADED)

    def until(self, condition: str) -> None:
        """Wait until something in JavaScript is true; Playwright's own wait needs `eval`.

        Args:
            condition: An expression.
        """
        wait = "async ms => { const until = performance.now() + ms; while (!(%s)) {"
        wait += " if (performance.now() > until) throw Error('waited in vain');"
        wait += " await new Promise(done => setTimeout(done, 20)); } }"
        self.page.evaluate(wait % condition, PATIENCE * 1_000)

    def main(self) -> str:
        """Return what is read of the page."""
        text: str = self.page.inner_text("main")
        return text

    def taken(self) -> list[str]:
        """Return what was noticed, and forget it."""
        noticed, self.noticed = self.noticed, []
        return noticed

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.noticed.append(f"console: {message.text}")

    def _asked(self, request: Any) -> None:
        if urlsplit(request.url).hostname not in OURS:
            self.noticed.append(f"elsewhere: {request.url}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.noticed.append(f"{response.status}: {response.url}")


Opened: TypeAlias = Callable[..., Tab]
