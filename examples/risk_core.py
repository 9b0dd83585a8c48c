"""The risk core without a book: executions happen elsewhere, this says who is in trouble.

The host reports each execution with `fill` and each mark with `mark`. The symbol is halted for
liquidations, so that the engine only watches: it calls for margin, and queues who is due, worst
first. It prints

    short of account 2: liquidation at 105, margin ratio 0.5
    mark 104: account 2 margin_call, equity 60, needs 9.34 more or 2 closed
    mark 104: account 2 margin_call_cleared
    mark 90: account 1 margin_call, equity 50, needs 10.01 more or 2 closed
    mark 89: account 1 liquidation_started
    due: account 1, margin ratio 1.1125, bankrupt at 85
    mark 93: account 1 liquidation_finished released
    mark 93: account 1 margin_call_cleared
    drift 0
"""

from engine import Exchange, Tier

exchange = Exchange(keep_events=False)  # heard by subscription, and not kept besides
exchange.add_asset("USDT", decimals=2)
exchange.add_instrument(
    "BTC", settle="USDT", tick_size=1, lot_size=1, tiers=[Tier(0, None, "0.05", 10)])
exchange.mark("BTC", 100)
exchange.halt("BTC", "no_liquidation")
for account, money in ((1, 150), (2, 100)):
    exchange.open_account(account)
    exchange.deposit(account, "USDT", money)


def tell(event: dict) -> None:
    """Print an event as an alert."""
    mark = exchange.instrument_state("BTC")["mark_price"]
    text = f"mark {mark}: account {event['account']} {event['event']}"
    if event["event"] == "margin_call":
        text += f", equity {event['equity']}, needs {event['collateral_needed']} more or "
        text += f"{event['quantity_to_close']} closed"
    print(text + (f" {event['outcome']}" if "outcome" in event else ""))


exchange.subscribe(tell, kinds=[
    "margin_call", "margin_call_cleared", "liquidation_started", "liquidation_finished"])

# What happened on the venue, whoever was on the other side: a fact, never refused for margin.
exchange.fill(1, "BTC", "buy", 10, 100)
exchange.fill(2, "BTC", "sell", 10, 100)
short = exchange.position(2, "BTC")["positions"][0]
print(f"short of account 2: liquidation at {short['liquidation_price']}, "
      f"margin ratio {short['margin_ratio']}")

for price in (104, 107):
    exchange.mark("BTC", price)
    if price == 104:
        exchange.deposit(2, "USDT", 100)
for price in (90, 89):
    exchange.mark("BTC", price)
for entry in exchange.liquidation_queue()["entries"]:
    position = exchange.position(entry["account"], "BTC")["positions"][0]
    print(f"due: account {entry['account']}, margin ratio {entry['margin_ratio']}, "
          f"bankrupt at {position['bankruptcy_price']}")
exchange.mark("BTC", 93)
print("drift", exchange.totals()["assets"]["USDT"]["drift"])
