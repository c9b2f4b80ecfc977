"""The figures on the pages are those that were measured."""

from pathlib import Path

import pytest

figures = pytest.importorskip("benchmarks.figures", reason="only a checkout has the benchmarks")

PAGES = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))


def test_pages_show_what_was_measured() -> None:
    """Each figure has one source; `python -m benchmarks.figures` puts it into the pages."""
    kept = figures.all_kept()
    for page in PAGES:
        text = page.read_text()
        assert figures.filled(text, kept) == text, f"{page} shows other figures"


def test_everything_measured_is_shown_with_its_command() -> None:
    """Each table that is kept is on a page, and so is what measured it."""
    named = set().union(*(figures.named_in(page.read_text()) for page in PAGES))
    kept = figures.all_kept()
    tables = {f"{name}, {table}" for name, found in kept.items() for table in found["tables"]}

    assert kept
    assert named == {*kept, *tables}


def test_what_is_published_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A measurement leaves its tables where FIGURES says, and a page takes them from there."""
    monkeypatch.setenv("FIGURES", str(tmp_path))
    monkeypatch.setattr(figures, "KEPT", tmp_path)
    slow = figures.Aim("half as long, ms", 7.5, 5)
    fast = figures.Aim("twice as many", 20, 10, at_least=True)
    times = figures.Table("times", ("", "ms"), [("one", "15"), ("two", "7.5")])
    figures.publish("clock", [times, figures.aims(slow, fast)], command="make clock")
    page = "Before\n<!-- figures: clock, {} -->\nold\n<!-- end of figures -->\nafter\n"

    shown = [figures.filled(page.format(name), figures.all_kept()) for name in ("times", "aims")]

    assert "\n| one | 15 |\n| two | 7.5 |\n\n<!-- end" in shown[0]
    assert shown[0].startswith("Before\n<!-- figures: clock, times -->\n\n|  | ms |\n")
    assert shown[1].splitlines()[5:7] == [
        "| half as long, ms | at most 5 | 7.5 | no |",
        "| twice as many | at least 10 | 20 | yes |",
    ]
    assert "`make clock`" in figures.filled(page.format("x").replace(", x", ""), figures.all_kept())
