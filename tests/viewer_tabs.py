"""Browser tabs without a browser: the viewer, asked in this process."""

from collections.abc import Callable
from typing import TypeAlias

from starlette.testclient import TestClient

Viewer: TypeAlias = Callable[..., TestClient]
ADDRESS = "http://127.0.0.1:8765"
