"""Events as the topic of an account has them: whom it traded with is not named there.

`events.` tells everything. A venue tells a trader his own side of a trade or a deleveraging,
and so does his topic: account, order and fee of the other side are nil.
"""

from __future__ import annotations

from typing import Any

from engine import wire

#: Of events with two sides: the field that names the account of one, and all that is its own.
SIDES: dict[str, dict[str, tuple[str, ...]]] = {
    "trade": {
        "maker_account": ("maker_account", "maker_order_id", "maker_fee"),
        "taker_account": ("taker_account", "taker_order_id", "taker_fee")},
    **{name: {"account": ("account",), "counterparty": ("counterparty",)}
       for name in ("adl", "backstop_takeover", "socialized_loss")},
}
#: A payload without any of these has no such event.
_TOLD_BY = (b"maker_account", b"counterparty")


def private_event(event: dict[str, Any], account: int) -> dict[str, Any]:
    """Return an event as an account may see it; 0, the fund, is no secret.

    Examples
    --------
    >>> trade = {"event": "trade", "maker_account": 7, "maker_order_id": 1, "maker_fee": "0",
    ...          "taker_account": 8, "taker_order_id": 5, "taker_fee": "1", "price": "100"}
    >>> private_event(trade, 8)["maker_account"], private_event(trade, 8)["taker_order_id"]
    (None, 5)
    """
    sides = SIDES.get(event["event"])
    if sides is None:
        return event
    others = [
        field for name, fields in sides.items() if event[name] not in (account, 0, None)
        for field in fields]
    return {**event, **dict.fromkeys(others)} if others else event


def private_payload(payload: bytes, account: int) -> bytes:
    """Return the payload of `events.` with one account's events as it may see them."""
    if not any(name in payload for name in _TOLD_BY):
        return payload
    epoch, seq, ts_ns, events = wire.decode_events(payload)
    return wire.encode_events(
        epoch, seq, ts_ns, [private_event(event, account) for event in events])
