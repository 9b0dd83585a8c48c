"""Price levels as columns of integers, for updates with many of them.

Venues write every price of a symbol with the same number of decimals, and so its quantities.
Without its point, such a column of texts is one of integers, read in a few calls however long
it is. Whatever is written in another way is left to readers of single texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Level = tuple[str, str]

_DIGITS = b"0123456789"
#: What is left of a level without its digits, and the comma behind it.
_SKELETON = b'[".","."],'
_WIDTH = len(_SKELETON)
#: Characters of a number that certainly fits into an int64.
_DIGITS_MAX = 18
_ZERO = np.uint8(ord("0"))


class LevelTable(NamedTuple):
    """Levels of many updates, one behind the other.

    Attributes
    ----------
    prices, quantities : array of int64
        In units of 10^-`price_decimals` and 10^-`quantity_decimals`.
    price_decimals, quantity_decimals : int
    """

    prices: Ints
    price_decimals: int
    quantities: Ints
    quantity_decimals: int


class LevelColumns(Sequence[Level]):
    """Levels of one side of an update: as a sequence, the (price, quantity) as they were written.

    Attributes
    ----------
    table : LevelTable
    begin, end : int
        Which of its rows they are.
    """

    __slots__ = ("begin", "end", "table")

    def __init__(self, table: LevelTable, begin: int, end: int) -> None:
        self.table, self.begin, self.end = table, begin, end

    def __len__(self) -> int:
        return self.end - self.begin

    @overload
    def __getitem__(self, place: int) -> Level: ...
    @overload
    def __getitem__(self, place: slice) -> list[Level]: ...

    def __getitem__(self, place: int | slice) -> Level | list[Level]:
        return list(self)[place]

    def __iter__(self) -> Iterator[Level]:
        table, rows = self.table, slice(self.begin, self.end)
        return zip(
            _texts(table.prices[rows], table.price_decimals),
            _texts(table.quantities[rows], table.quantity_decimals), strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, LevelColumns)) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


def _texts(units: Ints, decimals: int) -> list[str]:
    texts = (str(one).rjust(decimals + 1, "0") for one in units.tolist())
    return [f"{text[:-decimals]}.{text[-decimals:]}" for text in texts]


def read_columns(sides: Sequence[str]) -> list[LevelColumns] | None:
    """Read sides of updates.

    Parameters
    ----------
    sides : sequence of str
        What stands between the outer brackets of their JSON lists:
        `["61800.20","2.507"],["61800.10","0.000"]`.

    Returns
    -------
    list of LevelColumns, or None
        None: something is not as usual (other decimals, a price of zero).

    Examples
    --------
    >>> read_columns(['["61800.20","2.507"],["61800.10","0.000"]', ""])
    [[('61800.20', '2.507'), ('61800.10', '0.000')], []]
    """
    counts = [side.count("[") for side in sides]
    count = sum(counts)
    if not count:
        return None
    text = ",".join(filter(None, sides)).encode("ascii", "replace")
    if text.translate(None, _DIGITS) != (_SKELETON * count)[:-1]:
        return None
    letters = np.frombuffer(text, np.uint8)
    places = np.empty(_WIDTH * count, np.int64)
    # Where no digit stands; what sorts below "0" wraps.
    places[:-1] = np.flatnonzero(letters - _ZERO > 9)
    grid = places.reshape(count, _WIDTH)
    # Of price and quantity: the quote before, the point, the quote behind.
    first, point, last = grid[:, 1:6:4], grid[:, 2:7:4], grid[:, 3:8:4]
    wholes, fractions = point - first - 1, last - point - 1
    price_decimals, quantity_decimals = fractions[0].tolist()
    if (
        fractions.min() < 1 or wholes.min() < 1 or (fractions != fractions[0]).any()
        or (wholes + fractions).max() > _DIGITS_MAX
        # Noughts that lead would be lost.
        or ((wholes > 1) & (letters[first + 1] == _ZERO)).any()
    ):
        return None
    numbers = np.fromstring(text.translate(None, b'[".]'), np.int64, sep=",").reshape(count, 2)
    prices, quantities = np.ascontiguousarray(numbers.T)
    if not prices.all():
        return None
    table = LevelTable(prices, price_decimals, quantities, quantity_decimals)
    ends = accumulate(counts)
    return [
        LevelColumns(table, end - length, end) for length, end in zip(counts, ends, strict=True)]
