"""The pages on task queues: their code as a module, in a folder where workers run it."""

import importlib.util
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from children import environment
from patience import PATIENCE

from llm_audit.demo import provider
from llm_audit.settings import Settings

PAGES = Path(__file__).parents[1] / "docs" / "how-to" / "queues"


class Place:
    """A folder with the page's code as the module `jobs`, and the settings of its workers."""

    def __init__(self, folder: Path, url: str, variables: dict[str, str]) -> None:
        self.url = url
        self._folder = folder
        self._variables = variables

    def produce(self, page: str, more: str) -> None:
        """Make a module of what the page shows and what the test does with it; send the jobs."""
        blocks = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
        code = "\n".join([*blocks, more.replace("{url}", self.url)])
        path = self._folder / "jobs.py"
        path.write_text(code.replace("redis://localhost:6379", self.url))
        spec = importlib.util.spec_from_file_location("jobs", path)
        assert spec
        assert spec.loader
        jobs = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(jobs)
        jobs.produce()

    def run(self, *command: str | Path) -> None:
        """Run a program to its end."""
        with self.running(*command) as process:
            assert process.wait(PATIENCE) == 0

    @contextmanager
    def running(
        self, *command: str | Path, end: signal.Signals = signal.SIGTERM
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program until the block is left, then tell it to stop."""
        log = self._folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*map(str, command)],
                cwd=self._folder,
                env=self._variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
            if process.poll() is None:
                process.send_signal(end)
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            print(log.read_text(errors="replace"))


@contextmanager
def placed(folder: Path, redis_url: str, settings: Settings) -> Iterator[Place]:
    """Record with these settings, and ask a stand-in for the provider."""
    with provider.serve() as provider_url:
        openai = {"OPENAI_BASE_URL": provider_url, "OPENAI_API_KEY": "none"}
        variables = environment(settings) | openai
        variables["PYTHONPATH"] += f"{os.pathsep}{folder}"
        yield Place(folder, redis_url, variables)
