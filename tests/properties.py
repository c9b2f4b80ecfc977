"""What holds for any input: few examples here, many in `make faults`."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from patience import LONG

__all__ = ["example", "few", "given", "st"]

settings.register_profile(
    "ours",
    max_examples=1000 if LONG else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ours")
few = settings(max_examples=200 if LONG else 8)  # where each takes a hundred times as long
