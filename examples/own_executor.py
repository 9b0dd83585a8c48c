"""The liquidation queue with an executor of the host's own, on a book elsewhere.

The profile leaves to the host what the engine's book does not take (here it is empty): pools that
are due wait in the queue, worst first, with the step that the policy asks for and its bound. The
host sells elsewhere and reports each execution with `fill`; the engine measures again, and lets a
pool go as soon as it is healthy. It prints

    account 2: margin ratio 1.35, equity 40
      wanted 4 at 74 or better, sold [(80, 3), (79, 1)]
    account 2 released
    account 1: margin ratio 1.28571429, equity 42
      wanted 4 at 74 or better, sold [(79, 1)]
    account 1: margin ratio 1.09761905, equity 42
      wanted 1 at 75 or better, sold []
    account 1: margin ratio 1.09761905, equity 42
      wanted 1 at 75 or better, sold [(76, 1)]
    account 1 released
    account 1 keeps 8, margin ratio 0.97948718
    account 2 keeps 6, margin ratio 0.5511628
    drift 0
"""

from engine import Exchange, Tier

exchange = Exchange(keep_events=False)
exchange.add_asset("USDT", decimals=2)
exchange.add_instrument(
    "BTC", settle="USDT", tick_size=1, lot_size=1,
    tiers=[Tier(0, 500, "0.05", 10), Tier(500, None, "0.1", 10)],
    profile={"unfilled": "wait", "adl": False})
exchange.mark("BTC", 100)
for account, money in ((1, 252), (2, 250)):
    exchange.open_account(account)
    exchange.deposit(account, "USDT", money)
    exchange.fill(account, "BTC", "buy", 10, 100)

elsewhere = [(80, 3), (79, 2)]  # bids on the venue: price, lots


def sell(limit: int, lots: int) -> list[tuple[int, int]]:
    """An immediate order on the venue: what it took, no worse than the limit."""
    taken = []
    while lots and elsewhere and elsewhere[0][0] >= limit:
        price, shown = elsewhere.pop(0)
        took = min(lots, shown)
        taken.append((price, took))
        lots -= took
        if took < shown:
            elsewhere.insert(0, (price, shown - took))
    return taken


steps = {}  # account -> the latest step that the engine asked for
exchange.subscribe(
    lambda event: steps.__setitem__(event["account"], event), kinds="liquidation_step")
exchange.subscribe(
    lambda event: print(f"account {event['account']} {event['outcome']}"),
    kinds="liquidation_finished")


def work_off() -> None:
    """Sell for the worst pool until the queue is empty or nobody buys."""
    while entries := exchange.liquidation_queue()["entries"]:
        worst = entries[0]
        account = worst["account"]
        print(f"account {account}: margin ratio {worst['margin_ratio']}, equity {worst['equity']}")
        step = steps.pop(account, None)
        if step is not None:
            lots, limit = int(step["quantity"]), int(step["limit_price"])
        else:  # that step did not do: lot by lot, down to where nothing would be left
            position = exchange.position(account, "BTC")["positions"][0]
            lots, limit = 1, int(position["bankruptcy_price"])
        taken = sell(limit, lots)
        print(f"  wanted {lots} at {limit} or better, sold {taken}")
        if not taken:
            return
        for price, took in taken:
            exchange.fill(account, "BTC", "sell", took, price)


exchange.mark("BTC", 79)
work_off()
elsewhere.append((76, 20))  # somebody bids
work_off()
for account in (1, 2):
    position = exchange.position(account, "BTC")["positions"][0]
    print(f"account {account} keeps {position['quantity']}, margin ratio "
          f"{position['margin_ratio']}")
print("drift", exchange.totals()["assets"]["USDT"]["drift"])
