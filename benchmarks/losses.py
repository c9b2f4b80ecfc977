"""What a killed process takes with it: llm-audit beside OpenTelemetry's batch processor.

    python -m benchmarks.losses

A process records calls, one every two milliseconds and the last always left open, and says so after
each. It is killed with SIGKILL at a random moment, or leaves by `os._exit` as a Celery child does
that is recycled. Then what it said is compared with what has arrived. OpenTelemetry's exporter is
the best there can be: it has delivered a span the moment it is given it.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import llm_audit
from benchmarks.figures import Table, publish
from benchmarks.recorders import fresh_collection
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit import LLMLogger, embedded

PACE_SECONDS = 0.002
DATABASE = "bench_losses"
SAID, ARRIVED = "said", "arrived"
RECORD = "record"  # the first argument of the processes that are ended


class _AtOnce(SpanExporter):
    """Has delivered a span the moment it is given it."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        names = "".join(f"{span.name}\n" for span in spans)
        os.write(self._descriptor, names.encode())
        return SpanExportResult.SUCCESS


def record(recorder: str, folder: Path, calls: int) -> None:
    """Record in this process, say what has been recorded, and leave without a goodbye."""
    said = os.open(folder / SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    provider = TracerProvider()
    if recorder == "OpenTelemetry":
        provider.add_span_processor(BatchSpanProcessor(_AtOnce(folder / ARRIVED)))
    tracer = provider.get_tracer("benchmark")
    for number in range(calls):
        if recorder == "OpenTelemetry":
            span = tracer.start_span(str(number))
            os.write(said, f"open {number}\n".encode())
            time.sleep(PACE_SECONDS)
            span.end()
        else:
            call_id = LLMLogger.start(**REQUEST, metadata={"number": number})
            os.write(said, f"open {number}\n".encode())
            time.sleep(PACE_SECONDS)
            LLMLogger.complete(call_id, response_message=ANSWER, tokens=USAGE)
        os.write(said, f"finished {number}\n".encode())
    os._exit(0)


def lost(recorder: str, url: str, calls: int, kill_after_seconds: float | None) -> tuple[int, int]:
    """Let a process record and end; return how many finished and open calls are missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"mongo_url": url, "database": DATABASE, "spool_dir": str(folder / "spool")}
        environment = {f"LLM_AUDIT_{key.upper()}": value for key, value in settings.items()}
        collection = fresh_collection(url, DATABASE)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.losses", RECORD, recorder, str(folder), str(calls)],
            env=os.environ | environment,
        )
        while not (folder / SAID).exists():
            time.sleep(PACE_SECONDS)
        if kill_after_seconds is not None:
            time.sleep(kill_after_seconds)
            process.send_signal(signal.SIGKILL)
        process.wait()
        said = dict(reversed(line.split()) for line in (folder / SAID).read_text().splitlines())
        if recorder == "OpenTelemetry":
            there = (
                set((folder / ARRIVED).read_text().split())
                if (folder / ARRIVED).exists()
                else set()
            )
        else:
            there = _recover(settings, collection)
        collection.database.client.close()
    missing = [status for number, status in said.items() if number not in there]
    return missing.count("finished"), missing.count("open")


def _recover(settings: dict[str, Any], collection: Any) -> set[str]:
    """Let the next process on the machine ship what is left, and return what has arrived."""
    llm_audit.configure(**settings)
    llm_audit.recover()
    spool = Path(settings["spool_dir"])
    while any(path.stat().st_size for path in spool.glob("*/*/*.bson")):
        time.sleep(0.05)
    llm_audit.shutdown(30)
    return {str(call["metadata"]["number"]) for call in collection.find({}, {"metadata": 1})}


def main() -> None:
    """Publish the median of what is lost for each way to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    lot = random.Random(7)  # noqa: S311  (the same moments in every run)
    kills = [lot.uniform(1, 8) for _ in range(arguments.rounds)]
    endings = {
        "SIGKILL after 1 to 8 s": [(100_000, seconds) for seconds in kills],
        "child recycled after 20 calls (os._exit)": [(20, None)] * arguments.rounds,
    }
    rows = []
    with embedded.mongod() as server:
        for ending, rounds in endings.items():
            for recorder in ("llm-audit", "OpenTelemetry"):
                results = [lost(recorder, server.url, *one) for one in rounds]
                finished, still_open = zip(*results, strict=True)
                spread = f"{statistics.median(finished):.0f}, up to {max(finished)}"
                of_open = f"{sum(still_open)} of {len(rounds)}"
                rows.append((f"{ending}: {recorder}", spread, of_open))
    titles = ("", "finished calls lost, median", "open calls lost")
    publish("losses", [Table("killed", titles, rows)])


if __name__ == "__main__":
    if sys.argv[1:2] == [RECORD]:
        record(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    main()
