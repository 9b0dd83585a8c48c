"""What arrived of a feed and what did not: the check of its sequence, and counts."""

from __future__ import annotations

from dataclasses import dataclass

_GAPS_REMEMBERED = 1000


class SequenceCheck:
    """Follows the sequence of one topic within one epoch and says what each number means.

    Attributes
    ----------
    expected : int
        The next number in order.
    gap_count, missing_count, duplicate_count, late_count : int
        Runs of missing numbers, the numbers in them, numbers seen before, and
        missing numbers that arrived after all, out of order.
    """

    def __init__(self) -> None:
        self.expected = 1
        self.gap_count = 0
        self.missing_count = 0
        self.duplicate_count = 0
        self.late_count = 0
        self._gaps: list[list[int]] = []  # [first, last] of what is still missing

    def see(self, sequence: int) -> str:
        """Take the next number and classify it.

        Returns
        -------
        str
            `next`, `gap` (numbers before it are missing), `duplicate`, or `late`
            (it belongs into a gap reported before).
        """
        if sequence == self.expected:
            self.expected += 1
            return "next"
        if sequence > self.expected:
            self.miss(sequence - 1)
            self.expected = sequence + 1
            return "gap"
        if self._take_late(sequence):
            self.late_count += 1
            return "late"
        self.duplicate_count += 1
        return "duplicate"

    def miss(self, last: int) -> bool:
        """Note that everything from the expected number to `last` was sent and not seen.

        Returns
        -------
        bool
            Whether anything is missing.
        """
        if last < self.expected:
            return False
        self.gap_count += 1
        self.missing_count += last + 1 - self.expected
        if len(self._gaps) < _GAPS_REMEMBERED:
            self._gaps.append([self.expected, last])
        self.expected = last + 1
        return True

    def _take_late(self, sequence: int) -> bool:
        for gap in self._gaps:
            if gap[0] <= sequence <= gap[1]:
                rest = [[gap[0], sequence - 1], [sequence + 1, gap[1]]]
                self._gaps.remove(gap)
                self._gaps.extend(part for part in rest if part[0] <= part[1])
                return True
        return False


@dataclass
class FeedHealth:
    """What a subscriber saw of a feed; `is_complete` when nothing is missing.

    Attributes
    ----------
    message_count, step_count, mark_count : int
        Taken over, not merely received.
    gap_count, missing_count, duplicate_count, reordered_count : int
        Of `marks.` messages.
    malformed_count, epoch_change_count : int
    has_ended : bool
        Whether the publisher said that the feed is over.
    """

    message_count: int = 0
    step_count: int = 0
    mark_count: int = 0
    gap_count: int = 0
    missing_count: int = 0
    duplicate_count: int = 0
    reordered_count: int = 0
    malformed_count: int = 0
    epoch_change_count: int = 0
    has_ended: bool = False

    @property
    def is_complete(self) -> bool:
        """Every step of one publisher's feed arrived once, in order, to its end."""
        lost = self.gap_count + self.malformed_count + self.epoch_change_count
        return self.has_ended and lost == 0

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures as `(name, value)` for a summary."""
        return [
            ("messages", str(self.message_count)),
            ("gaps", str(self.gap_count)),
            ("missing_messages", str(self.missing_count)),
            ("duplicates", str(self.duplicate_count)),
            ("reordered", str(self.reordered_count)),
            ("malformed", str(self.malformed_count)),
            ("restarts", str(self.epoch_change_count)),
        ]
