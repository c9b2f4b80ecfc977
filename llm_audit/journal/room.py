"""How much the spool may still hold: less than it may, where the disk is short."""

CONTENT_SHARE = 7 / 8  # of the room; the rest is kept for what has lost its content
QUOTA = "spool_max_bytes"
DISK_SHORT = "free space on the disk"
FREE_SHARE = 0.9  # of what would be free without the spool: the rest of the machine writes, too


class Room:
    """What is left of it, as far as one journal knows.

    Args:
        max_bytes: What the whole spool may hold.

    Attributes:
        bytes: What is left.
        reserved_bytes: What was taken for content beside the journal.
        scarce: What there is too little of, where there is no room.
    """

    def __init__(self, max_bytes: int) -> None:
        self.bytes = max_bytes
        self.reserved_bytes = 0
        self.scarce = QUOTA
        self._max_bytes = max_bytes
        self._kept_bytes = max_bytes * (1 - CONTENT_SHARE)

    @property
    def is_short(self) -> bool:
        """Whether there is room only for what has lost its content."""
        return self.bytes < self._kept_bytes

    def measured(self, used_bytes: int, reserved_before: int, free_bytes: int | None) -> None:
        """Take note of how much the spool holds, and its disk.

        Args:
            used_bytes: In the spool.
            reserved_before: What `reserved_bytes` was before counting began.
            free_bytes: On the disk; None if nobody knows.
        """
        may_hold = self._max_bytes
        self.scarce = QUOTA
        if free_bytes is not None:
            share = int(FREE_SHARE * (free_bytes + used_bytes))
            if share < may_hold:
                may_hold, self.scarce = share, DISK_SHORT
        self._kept_bytes = may_hold * (1 - CONTENT_SHARE)
        self.bytes = may_hold - used_bytes - self.reserved_bytes + reserved_before

    def reserve(self, size_bytes: int) -> bool:
        """Take room for content beside the journal; return whether there is any."""
        if self.bytes - size_bytes < self._kept_bytes:
            return False
        self.bytes -= size_bytes
        self.reserved_bytes += size_bytes
        return True
