"""Connect to a server, trade, and follow one's own events and the book.

    engine serve --journal demo.journal --commands tcp://127.0.0.1:5557 \
        --events tcp://127.0.0.1:5558 --market-data tcp://127.0.0.1:5559 \
        --snapshots-at tcp://127.0.0.1:5560
"""

import sys

from engine.client import Client, Subscriber

PORTS = [f"tcp://127.0.0.1:{port}" for port in (5557, 5558, 5559, 5560)]
COMMANDS, EVENTS, MARKET_DATA, SNAPSHOTS = sys.argv[1:] or PORTS
TIER = {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
        "max_leverage": "20"}
MARKET = [
    {"cmd": "asset", "asset": "USDT", "decimals": 6},
    {"cmd": "instrument", "symbol": "DEMO", "kind": "linear", "base": "D", "quote": "USDT",
     "settle": "USDT", "tick_size": "0.5", "lot_size": "0.1", "tiers": [TIER]},
    {"cmd": "mark", "symbol": "DEMO", "mark_price": "100"},
    *({"cmd": "account", "account": account} for account in (7, 8)),
    *({"cmd": "deposit", "account": account, "asset": "USDT", "amount": "1000"}
      for account in (7, 8)),
]

with Client(COMMANDS, "example") as client:
    client.send_many(MARKET)  # what is there already is rejected, and nothing is harmed
    first = client.hello() + 1
    maker = {"cmd": "order", "account": 8, "symbol": "DEMO", "type": "limit", "quantity": "2"}
    client.send_many([{**maker, "order_id": first, "side": "buy", "price": "99.5"},
                      {**maker, "order_id": first + 1, "side": "sell", "price": "100.5"}])
    with Subscriber([EVENTS, MARKET_DATA], SNAPSHOTS, ["account.7.", "l2.DEMO."]) as news:
        print("begun:", {news.receive().topic for _ in range(2)})  # each with a snapshot
        print(client.send({"cmd": "order", "account": 7, "symbol": "DEMO", "order_id": first + 2,
                           "side": "buy", "type": "market", "quantity": "0.5"}))
        while (item := news.receive(timeout_s=2)) is not None:
            print(item)
        print("book:", news.book("l2.DEMO.").bids[0], news.book("l2.DEMO.").asks[0])
