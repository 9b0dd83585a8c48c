from engine.core.exchange import ExchangeCore
from engine.core.orderbook import OrderBook

__all__ = ["ExchangeCore", "OrderBook"]
