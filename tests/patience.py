"""How long tests wait for what has to happen: a setting, so that a busy machine fails no test.

`TEST_PATIENCE=4` multiplies every limit. A test that passes takes no longer by it.
"""

import os

FACTOR = float(os.environ.get("TEST_PATIENCE", "1"))
PATIENCE = 60 * FACTOR  # seconds for one wait
TEST_PATIENCE = 5 * PATIENCE  # seconds for one test
