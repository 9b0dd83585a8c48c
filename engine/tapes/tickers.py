"""Rebuilt quotes against recorded book tickers.

A ticker is sent for every change of the best bid or offer, with its update id. So the quote
of a book as of update id N has to be that of the newest ticker with an id of N or less.
Updates come in batches and later than tickers; ids, not arrival, say what belongs together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engine.feeds.depth import BookTicker
from engine.feeds.quotes import Quote

#: Quotes and tickers that are kept while the other stream is silent.
PENDING_COUNT_MAX = 100_000


@dataclass
class TickerFigures:
    """How rebuilt quotes compare with tickers.

    Attributes
    ----------
    compared_count : int
        Quotes with a ticker that holds at their update id.
    same_id_count : int
        Those of them whose ticker has that very id.
    agreed_count, agreed_same_id_count : int
        Prices and sizes are equal.
    price_agreed_count : int
        Prices are equal (sizes or not).
    unmatched_count : int
        Quotes without a ticker, or without a later one to show which ticker held.
    ahead_count, ahead_agreed_count : int
        Tickers that arrived with an id beyond the book's, and those equal to its quote.
    behind_count, behind_agreed_count : int
        Tickers that arrived with an id that the book had reached already, likewise.
    disordered_count : int
        Tickers whose id is not above the one before; left out.
    """

    compared_count: int = 0
    same_id_count: int = 0
    agreed_count: int = 0
    agreed_same_id_count: int = 0
    price_agreed_count: int = 0
    unmatched_count: int = 0
    ahead_count: int = 0
    ahead_agreed_count: int = 0
    behind_count: int = 0
    behind_agreed_count: int = 0
    disordered_count: int = 0


class TickerCheck:
    """Compares quotes with tickers, by update id and by arrival.

    Attributes
    ----------
    figures : TickerFigures

    Complexity
        O(1) a quote or ticker, amortised; memory for those that the other stream has not
        reached yet, `PENDING_COUNT_MAX` of each at most.
    """

    def __init__(self) -> None:
        self.figures = TickerFigures()
        self._tickers: deque[tuple[int, Quote]] = deque()
        self._quotes: deque[tuple[int, Quote]] = deque()

    def add_ticker(self, ticker: BookTicker, book_id: int | None, book_quote: Quote) -> None:
        """Take a ticker as it arrives.

        Parameters
        ----------
        ticker : BookTicker
        book_id : int or None
            Update id of the book at that moment; None where there is no book.
        book_quote : Quote
            Its best bid and offer.
        """
        quote = _ticker_quote(ticker)
        if self._tickers and ticker.update_id <= self._tickers[-1][0]:
            self.figures.disordered_count += 1
            return
        self._tickers.append((ticker.update_id, quote))
        if book_id is not None:
            if ticker.update_id > book_id:
                self.figures.ahead_count += 1
                self.figures.ahead_agreed_count += quote == book_quote
            else:
                self.figures.behind_count += 1
                self.figures.behind_agreed_count += quote == book_quote
        self._settle()

    def add_quote(self, book_id: int, quote: Quote) -> None:
        """Take the quote of a book as of an update id; ids rise."""
        self._quotes.append((book_id, quote))
        self._settle()

    def finish(self) -> None:
        """Count what is still open as unmatched; the capture has ended."""
        self.figures.unmatched_count += len(self._quotes)
        self._quotes.clear()

    # A quote can be judged once a later ticker shows which one held.
    def _settle(self) -> None:
        tickers = self._tickers
        while self._quotes and tickers:
            book_id, quote = self._quotes[0]
            while len(tickers) > 1 and tickers[1][0] <= book_id:
                tickers.popleft()
            if tickers[0][0] > book_id:
                self.figures.unmatched_count += 1
            elif len(tickers) > 1:
                self._compare(book_id, quote, *tickers[0])
            else:
                break
            self._quotes.popleft()
        if len(tickers) > PENDING_COUNT_MAX:
            tickers.popleft()
        if len(self._quotes) > PENDING_COUNT_MAX:
            self._quotes.popleft()
            self.figures.unmatched_count += 1

    def _compare(self, book_id: int, quote: Quote, ticker_id: int, ticker: Quote) -> None:
        figures = self.figures
        is_same_id = book_id == ticker_id
        figures.compared_count += 1
        figures.same_id_count += is_same_id
        figures.price_agreed_count += quote.prices == ticker.prices
        if quote == ticker:
            figures.agreed_count += 1
            figures.agreed_same_id_count += is_same_id


def _ticker_quote(ticker: BookTicker) -> Quote:
    return Quote(
        ticker.bid_ticks or None, ticker.bid_lots, ticker.ask_ticks or None, ticker.ask_lots
    )
