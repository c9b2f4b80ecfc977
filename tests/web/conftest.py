"""What every test of the viewer asks for."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient
from viewer_tabs import ADDRESS, Viewer
from waiting import Recording

from llm_audit.web import create_app


@pytest.fixture
def viewer(recording: Recording) -> Iterator[Viewer]:
    """Give what opens a tab on a viewer with these options; it follows no redirects."""
    recording()
    with ExitStack() as stack:

        def opened(**options: Any) -> TestClient:
            tab = TestClient(create_app(**options), base_url=ADDRESS, follow_redirects=False)
            tab.headers["hx-request"] = "true"  # a part is asked for by the page that it belongs to
            return stack.enter_context(tab)

        yield opened
