"""Runs Celery's own tests with and without our hooks, and prints the tests that differ.

The hooks are guests in Celery: what its tests say has to hold with them as well. The source
distribution of the pinned Celery comes from the package index. This is no part of CI: it takes
long, and some of these tests depend on luck (a test that differs has to do so twice).
"""

import os
import subprocess
import sys
import tarfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
UV = str(ROOT / ".ci" / "uv")
REQUIREMENTS = ("requirements/test.txt", "requirements/test-ci-base.txt")
# Each with what pytest is given. In one process each, so that both runs have the same order.
SUITES = {
    "t/unit": ["t/unit"],
    "t/integration": [f"t/integration/test_{name}.py" for name in ("tasks", "canvas", "inspect")],
}
FINISHED = (0, 1)  # pytest has run every test; some may have failed
OPTIONS = ("-q", "--tb=no", "--no-header", "--no-summary", "-p", "no:cacheprovider")

# These two hooks make this module a plugin of the runs: it says in a file what became of each test.
ASKED = dict(os.environ)  # some of Celery's tests empty the environment


def pytest_configure() -> None:
    """Install the hooks, in a run that is to have them."""
    if "WITH_HOOKS" in ASKED:
        import celery_hooks

        celery_hooks.install(coroutines=True)


def pytest_runtest_logreport(report: Any) -> None:
    """Note what became of a part of a test."""
    if report.when == "call" or not report.passed:
        with Path(ASKED["OUTCOMES"]).open("a") as outcomes:
            outcomes.write(f"{report.when} {report.outcome}\t{report.nodeid}\n")


class CelerySuite:
    """Celery's tests in a folder, with an environment to run them in.

    Args:
        place: A folder for everything.
        servers: Where MongoDB and Redis are, as variables of the environment.
    """

    def __init__(self, place: Path, servers: dict[str, str]) -> None:
        self._place = place
        self._source = self._fetch()
        self._python = self._make_venv()
        self._environment = {**os.environ, **servers, "PYTHONPATH": str(Path(__file__).parent)}

    def differing(self, arguments: list[str]) -> tuple[int, dict[str, tuple[str, str]]]:
        """Run tests without hooks and with them; return how many there are, and which differ."""
        without, with_hooks = (self._run(arguments, hooks=hooks) for hooks in (False, True))
        tests = {**without, **with_hooks}
        differ = {
            test: (without.get(test, "not run"), with_hooks.get(test, "not run"))
            for test in tests
            if without.get(test) != with_hooks.get(test)
        }
        return len(tests), differ

    def _fetch(self) -> Path:
        celery = f"celery=={version('celery')}"
        options = ("--quiet", "--no-deps", "--no-binary", "celery", "--dest", str(self._place))
        subprocess.run([sys.executable, "-m", "pip", "download", *options, celery], check=True)
        (archive,) = self._place.glob("celery-*.tar.gz")
        with tarfile.open(archive) as sources:
            sources.extractall(self._place, filter="data")
        return archive.with_suffix("").with_suffix("")

    def _make_venv(self) -> str:
        venv = self._place / "venv"
        python = str(venv / "bin" / "python")
        requirements = [f"--requirements={self._source / name}" for name in REQUIREMENTS]
        subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
        install = [UV, "pip", "install", "--quiet", "--python", python]
        ours = ["--editable", f"{ROOT}[celery]", str(self._source)]
        subprocess.run([*install, *ours, *requirements], check=True)
        return python

    def _run(self, arguments: list[str], *, hooks: bool) -> dict[str, str]:
        file = self._place / "outcomes"
        file.write_text("")
        asked = {"OUTCOMES": str(file)} | ({"WITH_HOOKS": "yes"} if hooks else {})
        command = [self._python, "-m", "pytest", "-p", Path(__file__).stem, *OPTIONS, *arguments]
        environment = {**self._environment, **asked}
        code = subprocess.run(command, cwd=self._source, env=environment, check=False).returncode
        if code not in FINISHED:
            raise SystemExit(f"pytest ended with {code}: no comparison of {arguments}")
        outcomes: dict[str, list[str]] = defaultdict(list)
        for line in file.read_text().splitlines():
            outcome, _, test = line.partition("\t")
            outcomes[test].append(outcome)
        return {test: ", ".join(said) for test, said in outcomes.items()}


def main() -> int:
    """Run the suites that are named, or all; return how many tests differ."""
    from llm_audit import embedded

    found = 0
    with (
        TemporaryDirectory() as place,
        embedded.Mongod() as mongod,
        embedded.redis_server() as redis,
    ):
        servers = {
            "LLM_AUDIT_MONGO_URL": mongod.url,
            "LLM_AUDIT_SPOOL_DIR": f"{place}/spool",
            "TEST_BROKER": redis.url,
            "TEST_BACKEND": redis.url,
        }
        suite = CelerySuite(Path(place), servers)
        for name in sys.argv[1:] or SUITES:
            count, differ = suite.differing(SUITES[name])
            if differ:
                _, differ = suite.differing(list(differ))
            print(f"{name}: {count} tests, {len(differ)} differ with the hooks", flush=True)
            for test, (without, with_hooks) in sorted(differ.items()):
                print(f"  {test}\n    without: {without}\n    with:    {with_hooks}")
            found += len(differ)
    return found


if __name__ == "__main__":
    sys.exit(bool(main()))
