"""Worlds that a process may live in, and ways in which it may end: see `Work`.

They are in a module of their own because a process that is started anew imports them by name.
"""

import ctypes
import os
import resource
import signal
import subprocess
import time
import warnings
from pathlib import Path

from faults.recording import Recording
from file_size_limit import file_size_limit
from patience import PATIENCE

import llm_audit
from llm_audit.journal.spool import owners

CLONE_NEWNS = 0x00020000  # sched.h
CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1  # prctl.h

FORKS = 15
CALLS_OF_A_FORK = 5
NUMBERS_OF_A_FORK = 1_000_000
INTERRUPTED_CALLS = 2_000
INTERRUPTION_SECONDS = 0.002

CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

CALLS_BETWEEN = 100

SWITCHES = 6
OPEN_CALLS = 5

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(what: int) -> None:
    """Leave namespaces of the kernel, as `unshare(2)` does; Python has it from 3.12.

    Raises:
        OSError: This process may not.
    """
    if _libc.unshare(what):
        raise OSError(ctypes.get_errno(), "unshare")


def as_pid_1() -> None:
    """Live on as process 1 of a container; what is sent to the process outside reaches it."""
    unshare(CLONE_NEWPID)
    inside = os.fork()
    if inside:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(inside, signal.SIGTERM))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]))
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    assert os.getpid() == 1


def under_another_boot() -> None:
    """Live in another kernel, as far as anybody can tell."""
    owners.boot_id = lambda: "another boot of another kernel"  # type: ignore[assignment]


def fork_often(recording: Recording) -> None:
    """Fork while others record; each child records too, and ends with a flush or without."""
    warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # from Python 3.12
    for fork in range(1, FORKS + 1):
        pid = os.fork()
        if pid == 0:
            for number in range(CALLS_OF_A_FORK):
                recording.record_call(fork * NUMBERS_OF_A_FORK + number)
            delivered = fork % 2 or llm_audit.shutdown(PATIENCE)
            os._exit(0 if delivered else 1)
        status = os.waitpid(pid, 0)[1]
        if status:
            recording.say(f"raised a forked child ended with {status}")
    recording.enough.set()


def record_in_signal_handlers(recording: Recording) -> None:
    """Record in the main thread while a signal interrupts it all the time to record as well."""

    def interrupt(*_: object) -> None:
        recording.record_call()
        # only now: on a busy machine one would interrupt the other for ever
        signal.setitimer(signal.ITIMER_REAL, INTERRUPTION_SECONDS)

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, INTERRUPTION_SECONDS)
    for _ in range(INTERRUPTED_CALLS):
        recording.record_call()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


def end_at_once(recording: Recording) -> None:
    """End as `os._exit` does, with no clean-up at all."""
    del recording
    os._exit(0)


def just_return(recording: Recording) -> None:
    """Let the interpreter come to its end with everything that is still queued."""
    del recording


def leave_the_others_recording(recording: Recording) -> None:
    """End the main thread, and with it the interpreter, while daemon threads record."""
    while next(recording.numbers) < 500:
        recording.say_progress()
    raise SystemExit


def wait_for_calls(recording: Recording, count: int) -> None:
    """Wait until the threads have recorded so many more calls."""
    goal = next(recording.numbers) + count
    while next(recording.numbers) < goal:
        time.sleep(0.001)


def fill_the_disk(recording: Recording) -> None:
    """Let no file grow for a while, as a full disk does, and then again."""
    for _ in range(3):
        wait_for_calls(recording, CALLS_BETWEEN)
        with file_size_limit(resource.getpagesize()):
            wait_for_calls(recording, CALLS_BETWEEN)
    wait_for_calls(recording, CALLS_BETWEEN)
    recording.say("said enough")
    recording.enough.set()


def on_a_small_disk(spool_dir: Path, size: str) -> None:
    """Give the spool a file system of its own, which nobody else sees."""
    unshare(CLONE_NEWNS)
    spool_dir.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size},mode=700"]
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", *options, "tmpfs", str(spool_dir)], check=True)


def without_root_powers() -> None:
    """Obey the permissions of files even as root: drop the capabilities that say otherwise.

    See capset(2).
    """
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    assert _libc.capget(header, sets) == 0
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        for which in range(3):
            sets[which] &= ~(1 << capability)
    assert _libc.capset(header, sets) == 0


def switch(recording: Recording) -> None:
    """Let now an agent ship and now a thread of this process, with calls open over each change."""
    for number in range(SWITCHES):
        begun = [recording.begin_call() for _ in range(OPEN_CALLS)]
        llm_audit.shutdown(0 if number % 3 else PATIENCE)
        llm_audit.configure(shipper="thread" if number % 2 else "agent")
        for call in begun:
            recording.end_call(*call)
        recording.record_call()
    recording.deliver()
