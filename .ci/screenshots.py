"""Takes the pictures of the docs: pages of the viewer over the demo's data, by headless Chromium.

They have the same size in every run, and are looked at by people, not compared. Where the browser
is: CHROMIUM, or one of the usual names.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 1400
BYTES_MAX = 200_000
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    *("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-lcd-text", "--force-device-scale-factor=1"),
    "--virtual-time-budget=6000",  # until what a page loads later is there
)
LIGHT, DARK = 1, 0  # as Blink calls them
PATIENCE_SECONDS = 60


class Shot(NamedTuple):
    """A picture: its name, how high it is, what it shows, and whether it is dark."""

    name: str
    height: int
    address: str
    is_dark: bool = False


class Viewer(NamedTuple):
    """The demo's viewer: where it is, and what opens it."""

    url: str
    token: str

    def ask(self, address: str) -> Any:
        """Return what a page says as JSON."""
        separator = "&" if "?" in address else "?"
        request = urllib.request.Request(  # noqa: S310  (the server is ours)
            f"{self.url}{address}{separator}format=json",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request) as answer:
            return json.load(answer)


def main() -> int:
    """Take them all.

    Returns:
        The exit code.
    """
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print("make screenshots needs Chromium: apt-get install chromium", file=sys.stderr)
        return 1
    demo = subprocess.Popen(
        [sys.executable, "-m", "llm_audit.demo"],
        env={**os.environ, "KEEP": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        viewer = _viewer_of(demo)
        PICTURES.mkdir(exist_ok=True)
        return max(_take(chromium, viewer, shot) for shot in _shots(viewer))
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait()


def _viewer_of(demo: subprocess.Popen[str]) -> Viewer:
    for line in demo.stdout or ():
        if found := re.search(r"(http://\S+/)\?token=(\S+)", line):
            return Viewer(found[1], found[2])
    raise SystemExit("The demo ended before it had a viewer.")


def _shots(viewer: Viewer) -> list[Shot]:
    """Return what is pictured: pages of the demo's own scenes, found as a reader would."""
    report = "task_name=llm_audit.demo.tasks.write_report&worker=demo@localhost"
    task = viewer.ask(f"calls?{report}")["calls"][0]
    call = viewer.ask("calls?call_type=RAG_SYNTHESIS&company_id=gorgias&not.tags=made-up")["calls"]
    return [
        Shot("overview", 840, ""),
        Shot("overview-dark", 840, "", is_dark=True),
        Shot("calls", 600, "calls"),
        Shot("call", 880, f"call?id={call[0]['id']}"),
        Shot("trace", 620, f"trace?id={task['trace_id']}"),
        Shot("task", 690, f"task?id={task['task_id']}"),
        Shot("failures", 590, "failures"),
        Shot("delivery", 480, "delivery"),
    ]


def _take(chromium: str, viewer: Viewer, shot: Shot) -> int:
    file = PICTURES / f"{shot.name}.png"
    separator = "&" if "?" in shot.address else "?"
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(chromium, *OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])),
                *(f"--user-data-dir={profile}", f"--window-size={WIDTH},{shot.height}"),
                f"--blink-settings=preferredColorScheme={DARK if shot.is_dark else LIGHT}",
                f"--screenshot={file}",
                f"{viewer.url}{shot.address}{separator}token={viewer.token}",
            ],
            env={**os.environ, "TZ": "UTC"},
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
    size = file.stat().st_size
    print(f"{file.relative_to(ROOT)}  {WIDTH} x {shot.height}, {size:,} bytes")
    if size > BYTES_MAX:
        print(f"That is more than {BYTES_MAX:,}: make it less high.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
