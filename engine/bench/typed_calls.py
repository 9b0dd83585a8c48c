"""What a typed call costs beside the other ways to give the same commands.

    python -m engine.bench.typed_calls

Each way places an order and cancels it, over and over, on an exchange of its own; CPU time of the
process, the ways in turns, the best of several rounds. All must come to the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from engine.embedding import example_exchange
from engine.exchange import Exchange

#: Places the order of a number and cancels it.
Way = Callable[[Exchange, int], object]


class Cost(NamedTuple):
    """A way to give commands, and the CPU time that one of them takes at best."""

    way: str
    us_per_command: float


def _order(number: int) -> dict[str, object]:
    return {
        "cmd": "order", "account": 1, "symbol": "BTC", "order_id": number, "side": "buy",
        "type": "limit", "quantity": "1", "price": "50"}


def _cancel(number: int) -> dict[str, object]:
    return {"cmd": "cancel", "account": 1, "symbol": "BTC", "order_id": number}


def _lines(exchange: Exchange, number: int) -> None:
    exchange.submit(_order(number))
    exchange.submit(_cancel(number))


def _applied(exchange: Exchange, number: int) -> None:
    exchange.apply(_order(number))
    exchange.apply(_cancel(number))


def _typed(exchange: Exchange, number: int) -> None:
    exchange.submit(1, "BTC", number, "buy", "limit", "1", "50")
    exchange.cancel(1, "BTC", number)


def _typed_with_events(exchange: Exchange, number: int) -> None:
    _ = exchange.submit(1, "BTC", number, "buy", "limit", "1", "50").events
    _ = exchange.cancel(1, "BTC", number).events


WAYS: dict[str, Way] = {
    "submit of a mapping, events left": _lines,
    "apply of a mapping, events as dicts": _applied,
    "typed, acknowledgement": _typed,
    "typed, acknowledgement and its events": _typed_with_events,
    "typed, one subscriber to all": _typed,
    "typed, one subscriber to other kinds": _typed,
}


def _made(way: str) -> Exchange:
    """An exchange with the subscriber that a way names."""
    exchange = example_exchange()
    if way.endswith("to all"):
        exchange.subscribe(lambda event: None)
    if way.endswith("other kinds"):
        exchange.subscribe(lambda event: None, kinds="trade")
    return exchange


def measure(pairs: int, rounds: int = 5) -> list[Cost]:
    """Return what each way costs.

    Parameters
    ----------
    pairs : int
        Orders placed and cancelled in each round.
    rounds : int, default 5
        The best counts.

    Raises
    ------
    AssertionError
        Two ways came to different states.
    """
    exchanges = {way: _made(way) for way in WAYS}
    best = dict.fromkeys(WAYS, float("inf"))
    for turn in range(rounds):
        for way, give in WAYS.items():
            exchange = exchanges[way]
            began = time.process_time()
            for number in range(turn * pairs + 1, (turn + 1) * pairs + 1):
                give(exchange, number)
            spent = time.process_time() - began
            exchange.discard_events()
            best[way] = min(best[way], spent / (2 * pairs) * 1e6)
    hashes = {exchange.state_hash() for exchange in exchanges.values()}
    assert len(hashes) == 1, f"the ways came to {len(hashes)} states"
    return [Cost(way, cost) for way, cost in best.items()]


if __name__ == "__main__":
    for cost in measure(20_000):
        print(f"{cost.us_per_command:8.2f} us  {cost.way}")
