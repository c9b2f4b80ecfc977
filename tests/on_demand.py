"""Modules that take long to load, loaded by the first test that uses them.

Each of several processes collects all tests, and runs only some of them.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest


class OnDemand:
    """A module, loaded when anything of it is asked for; tests are skipped where it is missing.

    Args:
        name: The module's.
    """

    def __init__(self, name: str) -> None:
        if find_spec(name.partition(".")[0]) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # whoever collects tests looks whether it is one
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
