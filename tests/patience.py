"""How long tests wait, and how much they try.

`TEST_PATIENCE=4` multiplies every limit, so that a busy machine fails no test; one that passes
takes no longer by it. `FAULTS=long` is what `make faults` sets.
"""

import os

LONG = os.environ.get("FAULTS") == "long"
PATIENCE = 60 * float(os.environ.get("TEST_PATIENCE", "1"))  # seconds for one wait
TEST_PATIENCE = PATIENCE * (30 if LONG else 5)  # seconds for one test
