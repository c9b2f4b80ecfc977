"""A wall clock that can be set back for one process: a library that is loaded before the C library.

The machine's own clock belongs to everybody, and time namespaces leave the wall clock alone.
"""

import shutil
import subprocess
from pathlib import Path

HOUR_SECONDS = 3600
SOURCE = f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Python and Rust both read the wall clock with this function. */
int clock_gettime(clockid_t clock, struct timespec *now) {{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    const char *flag = getenv("CLOCK_IS_BACK");
    if (!failed && clock == CLOCK_REALTIME && flag && !access(flag, F_OK))
        now->tv_sec -= {HOUR_SECONDS};
    return failed;
}}
"""


def build(folder: Path) -> Path | None:
    """Build the library; None where there is no C compiler.

    A process that has it in LD_PRELOAD lives an hour earlier once the file exists that
    CLOCK_IS_BACK names.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library
