"""A matching engine without accounts: one order book, and the money is the host's affair.

The book takes ticks and lots, knows an owner by number only, and answers with its trades. It prints

    asks [(10100, 3), (10200, 5)]
    taker paid 10100 for 3 of owner 1, order 1
    taker paid 10200 for 1 of owner 2, order 1
    resting bids [(10050, 2)] and then [(10050, 1)]
    refused: True
    owner 7 now holds 4 lots for 40500 ticks
    a batch of 6 orders, 0 refused: bids [(9002, 2), (9001, 2)], 2 lots traded
"""

from collections import Counter

import numpy as np

from engine.core import OrderBook
from engine.messages import Side, TimeInForce

BUY, SELL, GTC, IOC = Side.BUY, Side.SELL, TimeInForce.GTC, TimeInForce.IOC

book = OrderBook()
book.place(1, 1, SELL, 10_100, 3)  # owner, order id, side, ticks, lots
book.place(2, 1, SELL, 10_200, 5)
print("asks", book.levels(SELL))

held, spent = Counter(), Counter()
for maker, order_id, price, lots in book.match(7, 1, BUY, 10_200, 4, IOC):
    print(f"taker paid {price} for {lots} of owner {maker}, order {order_id}")
    held.update({7: lots, maker: -lots})
    spent.update({7: price * lots, maker: -price * lots})

book.place(3, 1, BUY, 10_050, 2)
before = book.levels(BUY)
book.amend(3, 1, 10_050, 1)  # fewer lots at the same price keep their turn
print("resting bids", before, "and then", book.levels(BUY))
book.cancel(3, 1)
print("refused:", book.place(4, 1, BUY, 10_200, 1, GTC, True) == -1)  # post-only, would trade
print(f"owner 7 now holds {held[7]} lots for {spent[7]} ticks")

# Many at once cross into the book in one call: rows of integers, trades as a table.
book.trades()  # those before
rows = np.array([
    (0, owner, number, side, 9000 + number, lots, GTC, 0)  # 0: place
    for owner, side, lots in ((5, BUY, 2), (6, SELL, 1)) for number in (1, 2, 3)], np.int64)
refused = book.run(rows)
trades = np.frombuffer(book.trades(), np.int64).reshape(-1, 6)
print(f"a batch of {len(rows)} orders, {refused} refused: bids {book.levels(BUY)},",
      trades[:, 5].sum(), "lots traded")
