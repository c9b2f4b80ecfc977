"""A wall clock that can be set for one process: a library that is loaded before the C library.

The machine's own clock belongs to everybody, and time namespaces leave the wall clock alone.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Python and Rust both read the wall clock with this function. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    const char *name = getenv("CLOCK_AHEAD");
    if (failed || clock != CLOCK_REALTIME || !name) return failed;
    char seconds[32] = {0};
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return failed;
    if (read(file, seconds, sizeof seconds - 1) > 0) now->tv_sec += atol(seconds);
    close(file);
    return failed;
}
"""
# For scripts: by how many seconds the clock is ahead from now on.
SET_CLOCK = """
import os
from pathlib import Path

def set_clock(seconds_ahead):
    new = Path(os.environ["CLOCK_AHEAD"] + ".new")
    new.write_text(str(seconds_ahead))
    new.replace(os.environ["CLOCK_AHEAD"])
"""


def give_a_clock(folder: Path, environment: pytest.MonkeyPatch) -> None:
    """Let scripts that are started from now on have a clock of their own, see `SET_CLOCK`."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build a clock that can be set")
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    environment.setenv("LD_PRELOAD", str(library))
    environment.setenv("CLOCK_AHEAD", str(folder / "seconds ahead"))
