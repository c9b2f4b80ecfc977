"""How long tests wait, and how much they try.

`TEST_PATIENCE=4` multiplies every limit, so that a busy machine fails no test; one that passes
takes no longer by it. `FAULTS=long` is what `make faults` sets.
"""

import os
from collections.abc import Iterable
from typing import TypeVar

LONG = os.environ.get("FAULTS") == "long"
PATIENCE = 60 * float(os.environ.get("TEST_PATIENCE", "1"))  # seconds for one wait
TEST_PATIENCE = PATIENCE * (30 if LONG else 5)  # seconds for one test
T = TypeVar("T")


def share(inputs: Iterable[T], of: int, number: int = 0) -> list[T]:
    """Return one of several shares of many inputs; in `make faults`, all of them.

    A test that calls this is marked `many`, by which `make faults` finds it.

    Args:
        inputs: Any.
        of: How many shares there are.
        number: Which one it is; whoever takes several in turn gives each a number.
    """
    every = [*inputs]
    return every if LONG else every[number % of :: of]
