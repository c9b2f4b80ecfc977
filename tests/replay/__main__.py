"""Sends every recorded call by its client, with and without capture, and prints what came of it."""

import sys
import tempfile
from pathlib import Path

from replay.compare import compare
from replay.recordings import recordings
from replay.table import lines


def main() -> int:
    """Print the table, and what is wrong; return 1 if anything is."""
    # one after the other: what is fetched ends the call that was answered last with its id
    both = [(recording, is_async) for is_async in (False, True) for recording in recordings()]
    if not both:
        print("the recorded traffic is not beside the project")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        judged = compare(both, Path(folder))
    for one in judged:
        if one.is_wrong:
            print(one.told())
    print("\n".join(lines(judged)))
    return int(any(one.is_wrong for one in judged))


if __name__ == "__main__":
    sys.exit(main())
