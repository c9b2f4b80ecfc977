"""Recorded traffic, played to the real clients: capture changes nothing, and records all of it.

Some of each kind are played here; `make replay` plays all, and what is read without a client is
tested with all (`tests/unit`, `tests/integration/test_traffic.py`).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import LONG
from replay.recordings import Recording, recordings

OF_EACH_KIND = 4


def test_recorded_traffic(tmp_path: Path) -> None:
    """Users get the same from a client with and without capture, and the record is the wire's."""
    half = [(recording, index % 2 == 1) for index, recording in enumerate(_some())]
    if not half:
        pytest.skip("the recorded traffic is not beside the project")
    from replay.compare import compare  # here: the clients take seconds to load

    judged = compare(half, tmp_path)
    assert [one.told() for one in judged if one.is_wrong] == []


def _some() -> Iterator[Recording]:
    """Yield recordings of every kind, and all that belong together."""
    kinds = Counter[object]()
    for one in recordings():
        kind = (one.provider, one.endpoint, one.method, one.is_stream, one.answer.status)
        kinds[kind] += 1
        if LONG or kinds[kind] <= OF_EACH_KIND or one.method == "GET":
            yield one
