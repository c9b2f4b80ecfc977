"""The pictures of README and docs: each is there, as wide as the others, not heavy, and in use."""

import re
import runpy
import struct

import pytest
from pages import PAGES, ROOT

PICTURES = ROOT / "docs" / "pictures"
NAMED = re.compile(r'!\[(?P<alt>[^\]]*)\]\((?P<path>[^)]+\.png)\)|"(?P<html>[^"]+\.png)"')
WIDTH = 1400
BYTES_MAX = 200_000


def test_pictures_are_there_and_small() -> None:
    """What a page names is a PNG of our width, and says in words what it shows; none is unused."""
    used = set()
    for page in PAGES:
        for found in NAMED.finditer(page.read_text()):
            file = (page.parent / (found["path"] or found["html"])).resolve()
            used.add(file)
            content = file.read_bytes()
            width, _ = struct.unpack(">II", content[16:24])
            assert content.startswith(b"\x89PNG"), file
            assert (width, len(content) <= BYTES_MAX) == (WIDTH, True), (file, len(content))
            assert found["html"] or found["alt"], (page, file)
    assert used == set(PICTURES.iterdir())
    assert PICTURES / "overview-dark.png" in used


def test_what_takes_them_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without Chromium it is one line."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / ".ci" / "screenshots.py"), run_name="__main__")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "make screenshots needs Chromium: apt-get install chromium\n"
