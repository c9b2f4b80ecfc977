"""What recording costs the caller, the client and the database, beside the alternatives.

    make bench

Every figure is a ratio to something measured in the same run; each is the median of several
rounds, in which the candidates take turns.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pymongo

import llm_audit
from benchmarks.figures import Aim, Table, aims, publish
from benchmarks.recorders import (
    RECORDERS,
    Recorder,
    document_bytes,
    fresh_collection,
    insert_many,
    llm_audit_recorder,
    record_with_llm_audit,
)
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit import LLMLogger, embedded

PACE_SECONDS = 0.002
RIVAL = "OpenTelemetry batch processor"
FLOOR = "`insert_many` in batches of 500: the floor"
AT_ONCE = "recording and shipping at once, in one process"
DRAINING = "shipping what a dead process left"
APART = "the same, starts and outcomes far apart"


def calling_thread(url: str, rounds: int, calls: int) -> tuple[Table, list[Aim]]:
    """Measure what one call costs the thread that makes it, a call every two milliseconds."""
    figures = paced(RECORDERS, url, rounds, calls)
    ours, theirs = figures["llm-audit"], figures[RIVAL]
    return paced_table(figures), [
        Aim(f"median, x {RIVAL}", ours[0] / theirs[0], 0.8),
        Aim(f"p99, x {RIVAL}", ours[1] / theirs[1], 1),
        Aim("CPU of the thread, µs", ours[2], 38),
    ]


def paced(
    recorders: Mapping[str, Recorder], url: str, rounds: int, calls: int
) -> dict[str, list[float]]:
    """Return median, p99 and CPU of thread and process for a call, in microseconds.

    Args:
        recorders: Who takes turns.
        url: MongoDB's.
        rounds: How many turns each has.
        calls: How many calls a turn has, one every two milliseconds.
    """
    runs = defaultdict(list)
    for _ in range(rounds):
        for name, recorder in recorders.items():
            with tempfile.TemporaryDirectory() as folder, recorder(url, Path(folder)) as record:
                for _ in range(50):
                    record()
                llm_audit.flush(30)  # the price list is loaded in the background
                times = []
                cpu_began, thread_began = time.process_time(), time.thread_time()
                for _ in range(calls):
                    began = time.perf_counter()
                    record()
                    times.append((time.perf_counter() - began) * 1e6)
                    time.sleep(PACE_SECONDS)
                thread_cpu = time.thread_time() - thread_began
                idle = calls * _sleep_cpu_seconds()
            cpu = time.process_time() - cpu_began
            times.sort()
            median, tail = times[len(times) // 2], times[int(len(times) * 0.99)]
            of_cpu = [(used - idle) / calls * 1e6 for used in (thread_cpu, cpu)]
            runs[name].append((median, tail, *of_cpu))
    return {name: [*map(statistics.median, zip(*runs[name], strict=True))] for name in recorders}


def paced_table(figures: Mapping[str, Sequence[float]]) -> Table:
    """Return what `paced` has measured, with the first for comparison."""
    of_first = next(iter(figures.values()))
    titles = (
        "",
        "median µs",
        "p99 µs",
        "CPU of the thread, µs",
        "of the process, µs",
        f"x {next(iter(figures))}",
    )
    rows = [
        (name, *(f"{figure:,.0f}" for figure in row), f"{row[0] / of_first[0]:.2f}")
        for name, row in figures.items()
    ]
    return Table("calling thread", titles, rows)


def _sleep_cpu_seconds() -> float:
    """Return what the pacing itself costs in CPU, to be taken off."""
    began = time.process_time()
    for _ in range(100):
        time.sleep(PACE_SECONDS)
    return (time.process_time() - began) / 100


def throughput(url: str, rounds: int, calls: int) -> tuple[Table, list[Aim]]:
    """Measure calls per second through to the database, against insert_many."""
    rates, cpu = defaultdict(list), defaultdict(list)

    def note(name: str, seconds: float, cpu_seconds: float) -> None:
        rates[name].append(calls / seconds)
        cpu[name].append(cpu_seconds / calls * 1e6)

    for _ in range(rounds):
        note(FLOOR, *insert_many(url, calls))
        note(AT_ONCE, *_record_and_ship(url, calls))
        note(DRAINING, *_drain(url, calls, apart=False))
        note(APART, *_drain(url, calls, apart=True))
        with RECORDERS["insert_one + update_one"](url, Path()) as record:
            few = calls // 10
            began, cpu_began = time.perf_counter(), time.process_time()
            for _ in range(few):
                record()
            seconds, used = time.perf_counter() - began, time.process_time() - cpu_began
        note("`insert_one` + `update_one` per call", seconds * 10, used * 10)
    rate = {name: statistics.median(measured) for name, measured in rates.items()}
    of_floor = {name: found / rate[FLOOR] for name, found in rate.items()}
    used_us = {name: statistics.median(measured) for name, measured in cpu.items()}
    titles = ("", "calls/s", "of the floor", "client CPU per call, µs")
    rows = [
        (name, f"{rate[name]:,.0f}", f"{of_floor[name]:.2f}", f"{used_us[name]:,.0f}")
        for name in rate
    ]
    return Table("through to MongoDB", titles, rows), [
        Aim(f"{AT_ONCE}, of the floor", of_floor[AT_ONCE], 0.45, at_least=True),
        Aim(f"{DRAINING}, of the floor", of_floor[DRAINING], 0.65, at_least=True),
        Aim(f"{APART}, of the floor", of_floor[APART], 0.35, at_least=True),
        Aim("client CPU from start to acknowledged, µs", used_us[AT_ONCE], 70),
    ]


def _record_and_ship(url: str, calls: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder, llm_audit_recorder(url, Path(folder)) as record:
        record()
        llm_audit.flush(30)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            record()
        arrived = llm_audit.flush(120)
        result = time.perf_counter() - began, time.process_time() - cpu
    _check(url, calls + 1, arrived=bool(arrived))
    return result


def _drain(url: str, calls: int, *, apart: bool) -> tuple[float, float]:
    """Let a child record with MongoDB out of reach and die; measure shipping what it left."""
    fresh_collection(url, "bench_llm_audit").database.client.close()
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if pid == 0:
            _record_and_die(url, folder, calls, apart=apart)
        os.waitpid(pid, 0)
        began, cpu = time.perf_counter(), time.process_time()
        llm_audit.configure(
            mongo_url=url, database="bench_llm_audit", spool_dir=folder, recovery_interval_seconds=9
        )
        llm_audit.recover()
        while any(Path(folder).rglob("*.bson")):  # a segment goes once MongoDB has all of it
            time.sleep(0.05)
        result = time.perf_counter() - began, time.process_time() - cpu
        llm_audit.shutdown()
    _check(url, calls, arrived=True)
    return result


def _record_and_die(url: str, folder: str, calls: int, *, apart: bool) -> None:
    llm_audit.configure(
        mongo_url=url, database="bench_llm_audit", spool_dir=folder, pending_after_seconds=3600
    )
    from llm_audit.recorder.shipping.shipper import Shipper

    Shipper.start = lambda _: None  # type: ignore[method-assign]
    if apart:
        # so far apart that no start is still waiting when its outcome is read
        ids = [LLMLogger.start(call_type="CHAT", **REQUEST) for _ in range(calls)]
        for call_id in ids:
            LLMLogger.complete(call_id, response_message=ANSWER, tokens=USAGE, finish_reason="stop")
    else:
        for _ in range(calls):
            record_with_llm_audit()
    os._exit(0)


def _check(url: str, calls: int, *, arrived: bool) -> None:
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url)
    stored = client["bench_llm_audit"]["llm_calls"].count_documents({"status": "SUCCESS"})
    client.close()
    if not arrived or stored != calls:
        raise RuntimeError(f"{stored} of {calls} calls arrived: the figures mean nothing")


def main() -> None:
    """Run every measurement and publish it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=5000, help="calls a round")
    parser.add_argument("--paced-calls", type=int, default=1000, help="paced calls a round")
    options = parser.parse_args()
    print(f"A call of {document_bytes()} bytes of BSON; {os.cpu_count()} cores, shared with mongod")
    with embedded.mongod() as server:
        calling, of_calling = calling_thread(server.url, options.rounds, options.paced_calls)
        through, of_shipping = throughput(server.url, options.rounds, options.calls)
    publish("recording", [calling, through, aims(*of_calling, *of_shipping)])


if __name__ == "__main__":
    main()
