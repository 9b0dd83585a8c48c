"""How well one sequence of states agrees with another, in order.

The shortest edit script between the two (Myers 1986: insertions and deletions only), so
nothing depends on where a comparison happens to fall out of step and finds it again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from engine.errors import RunError

#: An agreement poorer than this many edits is none; also bounds time and memory.
EDIT_COUNT_MAX = 2_000


@dataclass(frozen=True)
class Difference:
    """One place where the sequences part: `ours[i:j]` stands where `theirs[k:l]` does.

    Attributes
    ----------
    ours, theirs : range
        Indices; one of them may be empty.
    """

    ours: range
    theirs: range


@dataclass(frozen=True)
class Agreement:
    """The result of `align`.

    Attributes
    ----------
    ours_count : int
    theirs_count : int
        Length of the part of theirs that ours was found to cover.
    matched_count : int
        States that both have, in the same order.
    differences : tuple of Difference
    """

    ours_count: int
    theirs_count: int
    matched_count: int
    differences: tuple[Difference, ...]

    @property
    def share(self) -> float:
        """Matched states, as a share of the longer of the two."""
        longer = max(self.ours_count, self.theirs_count)
        return self.matched_count / longer if longer else 1.0


def align(
    ours: Sequence[Hashable], theirs: Iterable[Hashable], edit_count_max: int = EDIT_COUNT_MAX
) -> Agreement:
    """Align all of ours with the beginning of theirs.

    Parameters
    ----------
    ours : sequence
    theirs : iterable
        May go on beyond the end of ours; where it is cut is part of the alignment.
    edit_count_max : int

    Returns
    -------
    Agreement

    Raises
    ------
    RunError
        More than `edit_count_max` edits.

    Complexity
        O(length + edits²) on sequences that mostly agree.

    Examples
    --------
    >>> found = align("abxcd", "abcdefg")
    >>> found.matched_count, found.theirs_count, found.differences
    (4, 4, (Difference(ours=range(2, 3), theirs=range(2, 2)),))
    """
    beginning = list(islice(theirs, len(ours) + edit_count_max))
    frontiers = _search(ours, beginning, edit_count_max)
    matches = _trace_back(ours, frontiers)
    end = len(ours) - _end_diagonal(ours, frontiers[-1])
    # A sentinel pair before and after, so that what lies outside the first and the last
    # match is a gap like any other.
    pairs = [(-1, -1), *matches, (len(ours), end)]
    differences = tuple(
        Difference(range(i + 1, j), range(k + 1, n))
        for (i, k), (j, n) in pairwise(pairs)
        if j - i > 1 or n - k > 1
    )
    return Agreement(len(ours), end, len(matches), differences)


# On diagonal k = (index in ours) - (index in theirs), the furthest index in ours that d edits
# reach; one dictionary for each d.
def _search(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], edit_count_max: int
) -> list[dict[int, int]]:
    frontiers: list[dict[int, int]] = []
    before: dict[int, int] = {}
    for edits in range(edit_count_max + 1):
        frontier: dict[int, int] = {}
        for k in range(-edits, edits + 1, 2):
            x = max(before.get(k + 1, -1), before.get(k - 1, -2) + 1) if edits else 0
            if x < 0 or x > len(ours) or x - k > len(theirs):
                continue
            while x < len(ours) and x - k < len(theirs) and ours[x] == theirs[x - k]:
                x += 1
            frontier[k] = x
        frontiers.append(frontier)
        if len(ours) in frontier.values():
            return frontiers
        before = frontier
    raise RunError(f"the sequences differ by more than {edit_count_max} edits")


def _end_diagonal(ours: Sequence[Hashable], frontier: dict[int, int]) -> int:
    return next(k for k, x in frontier.items() if x == len(ours))


def _trace_back(
    ours: Sequence[Hashable], frontiers: list[dict[int, int]]
) -> list[tuple[int, int]]:
    matches = []
    k = _end_diagonal(ours, frontiers[-1])
    x = len(ours)
    for edits in range(len(frontiers) - 1, -1, -1):
        if edits:
            before = frontiers[edits - 1]
            inserted, deleted = before.get(k + 1, -1), before.get(k - 1, -2) + 1
            start = max(inserted, deleted)
        else:
            start = 0
        while x > start:
            x -= 1
            matches.append((x, x - k))
        if edits:
            k, x = (k + 1, inserted) if inserted >= deleted else (k - 1, deleted - 1)
    matches.reverse()
    return matches
