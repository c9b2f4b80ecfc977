"""The numbers that were passed over in a journal: what has one of them may still come."""

from bisect import bisect_right
from collections.abc import Iterable

RANGES_MAX = 1_000


class Gaps:
    """Counts numbers without a record, and takes back those that turn up late.

    A record that the disk refused is in its process's memory, and on disk later than those that
    follow it.

    Args:
        count: How many numbers were passed over before.
        ranges: Which, each from the first to the last; the rest nobody knows any more.
    """

    def __init__(self, count: int = 0, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.count = count
        self._ranges = sorted(ranges)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Which numbers, each range from the first to the last."""
        return list(self._ranges)

    def pass_over(self, first: int, last: int) -> None:
        """Count numbers after all that were passed over before."""
        self.count += last - first + 1
        self._ranges.append((first, last))
        del self._ranges[:-RANGES_MAX]

    def found(self, number: int) -> None:
        """Take back a number, if it was passed over."""
        place = bisect_right(self._ranges, (number, number)) - 1
        for at in (place, place + 1):  # a range that begins with it sorts behind it
            if 0 <= at < len(self._ranges):
                first, last = self._ranges[at]
                if first <= number <= last:
                    rest = ((first, number - 1), (number + 1, last))
                    self._ranges[at : at + 1] = [each for each in rest if each[0] <= each[1]]
                    self.count = max(0, self.count - 1)
                    return
