"""A matching engine as a service: order books behind a socket, and no money anywhere.

Each symbol is one `OrderBook`. Clients connect over TCP and write JSON lines; every line is
answered by what it did, and whoever rested in a book is told of his fills as they happen.
Inside there are whole ticks and lots, outside decimal strings. Balances and settlement are
left to whoever listens to the trades; margin and liquidation are what `engine.Exchange` adds.

    python examples/matching_backend.py               two clients trade, and all ends
    python examples/matching_backend.py --port 9000   serves until interrupted: nc 127.0.0.1 9000
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from itertools import count
from typing import Any

from engine.core import OrderBook
from engine.units import Grid, is_decimal

SYMBOLS = {"BTC-USDT": ("0.1", "0.001"), "ETH-USDT": ("0.01", "0.01")}  # tick, lot
SIDES, TIMES_IN_FORCE = {"buy": 0, "sell": 1}, {"gtc": 0, "ioc": 1, "fok": 2}
Message = dict[str, Any]
Tell = Callable[[int, Message], None]


class Market:
    """A book, and the grids of its prices and quantities."""

    def __init__(self, tick: str, lot: str) -> None:
        self.book, self.tick, self.lot = OrderBook(), Grid(tick), Grid(lot)

    def place(self, owner: int, line: Message, tell: Tell) -> Message:
        """Enter an order, and tell those whose orders it took."""
        price, quantity = (grid.units(line[name]) if is_decimal(line[name]) else -1
                           for name, grid in (("price", self.tick), ("quantity", self.lot)))
        if price <= 0 or quantity <= 0:
            return {"error": "price and quantity: positive multiples of tick and lot"}
        trades = self.book.match(owner, line["order_id"], SIDES[line["side"]], price, quantity,
                                 TIMES_IN_FORCE[line.get("time_in_force", "gtc")])
        if trades is None:
            return {"error": "refused: an id that is live, or fill or kill that cannot be"}
        for maker, maker_id, at, lots in trades:
            tell(maker, {"fill": maker_id, "symbol": line["symbol"],
                         "price": self.tick.text(at), "quantity": self.lot.text(lots)})
        filled = self.lot.text(sum(lots for *_, lots in trades))
        return {"placed": line["order_id"], "filled": filled}

    def cancel(self, owner: int, line: Message, tell: Tell) -> Message:
        return {"canceled": self.book.cancel(owner, line["order_id"])}

    def depth(self, owner: int, line: Message, tell: Tell) -> Message:
        return {side: [(self.tick.text(price), self.lot.text(lots))
                       for price, lots in self.book.levels(number, 5)]
                for side, number in SIDES.items()}


REQUESTS = {"place": Market.place, "cancel": Market.cancel, "book": Market.depth}


class Backend:
    """Books by symbol, and who is connected."""

    def __init__(self) -> None:
        self.markets = {name: Market(*grids) for name, grids in SYMBOLS.items()}
        self.writers: dict[int, asyncio.StreamWriter] = {}
        self._owners = count(1)

    def answer(self, owner: int, text: bytes) -> Message:
        try:
            line = json.loads(text, parse_float=str)
            return REQUESTS[line["do"]](self.markets[line["symbol"]], owner, line, self.tell)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            return {"error": f"malformed: {error!r}"}

    def tell(self, owner: int, message: Message) -> None:
        if owner in self.writers:  # orders outlive their connection; what fills then is not kept
            self.writers[owner].write(json.dumps(message).encode() + b"\n")

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        owner = next(self._owners)
        self.writers[owner] = writer
        try:
            while text := await reader.readline():
                self.tell(owner, self.answer(owner, text))
                await writer.drain()
        except (ConnectionError, ValueError):  # gone; or a line beyond asyncio's 64 KiB
            pass
        finally:
            del self.writers[owner]
            writer.close()


async def show(backend: Backend, port: int) -> None:
    """Two clients: one rests, the other takes."""
    seller, buyer = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]

    async def ask(who: Any, what: str, *terms: Any) -> None:
        line = dict(zip(("order_id", "side", "price", "quantity"), terms, strict=False))
        who[1].write(json.dumps({"do": what, "symbol": "BTC-USDT", **line}).encode() + b"\n")
        print((await who[0].readline()).decode().strip())

    await ask(seller, "place", 1, "sell", "60000.5", "2")
    await ask(buyer, "place", 1, "buy", "60001", "0.75")
    print("the seller hears:", (await seller[0].readline()).decode().strip())
    await ask(buyer, "place", 2, "buy", "60000.55", "1")
    await ask(buyer, "book")
    await ask(seller, "cancel", 1)
    for _, writer in (seller, buyer):
        writer.close()
    while backend.writers:
        await asyncio.sleep(0.01)


async def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0)
    port = options.parse_args().port
    if not 0 <= port < 2**16:
        options.error("--port: from 0 to 65535")
    backend = Backend()
    async with await asyncio.start_server(backend.serve_one, "127.0.0.1", port) as server:
        if port:
            await server.serve_forever()
        await show(backend, server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
