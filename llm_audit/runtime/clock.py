"""The clock for waits, leases and durations, which nobody sets.

Tools that freeze time in tests replace `time.monotonic` wherever a module holds it, and a wait by
it never ends. They leave this one alone.
"""

import time
from collections.abc import Callable
from functools import partial

monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
# the machine's own, for a look at how wrong it is; what happens has the time of `time.time`
wall: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_REALTIME)
monotonic_ns: Callable[[], int] = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
