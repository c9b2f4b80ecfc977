"""Recorded traffic, played to the real clients: capture changes nothing, and records all of it."""

from pathlib import Path

import pytest
from replay.recordings import recordings


def test_recorded_traffic(tmp_path: Path) -> None:
    """Users get the same from a client with and without capture, and the record is the wire's."""
    half = [(recording, index % 2 == 1) for index, recording in enumerate(recordings())]
    if not half:
        pytest.skip("the recorded traffic is not beside the project")
    from replay.compare import compare  # here: the clients take seconds to load

    judged = compare(half, tmp_path)
    assert [one.told() for one in judged if one.is_wrong] == []
