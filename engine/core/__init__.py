"""The compiled core. Only names are made public here; the sources are in ext/engine/core/."""

try:
    from engine.core.exchange import ExchangeCore
    from engine.core.orderbook import OrderBook
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("engine.core."):
        raise
    raise ImportError(
        f"the compiled core is not built for this Python (no module {error.name}): "
        "run `pip install -e .` (or `tools/test`) in the checkout",
        name=error.name,
    ) from None

__all__ = ["ExchangeCore", "OrderBook"]
