"""Recorded traffic, played to the real clients: capture changes nothing, and records all of it."""

from pathlib import Path

import pytest
from replay.compare import compare
from replay.recordings import recordings


def test_capture_changes_nothing_for_the_app(tmp_path: Path) -> None:
    """What users get from a client, and what it sends, is the same with and without capture."""
    half = [(recording, index % 2 == 1) for index, recording in enumerate(recordings())]
    if not half:
        pytest.skip("the recorded traffic is not beside the project")
    judged = compare(half, tmp_path)
    assert [one.told() for one in judged if one.changed] == []
