import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_benchmark_can_be_started() -> None:
    """What the benchmarks import is installed with everything else that working on it takes."""
    names = [f"benchmarks.{path.stem}" for path in sorted(ROOT.glob("benchmarks/[a-z]*.py"))]
    script = "import importlib, sys; list(map(importlib.import_module, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=ROOT,
        env=os.environ | {"BROKER_URL": "memory://", "QUEUE": "none"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert names
    assert done.stderr == ""
