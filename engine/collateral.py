"""Collateral assets: what a declaration says, in the core's integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.instruments import Asset
from engine.messages import MONEY_MAX, NONE, RATE_SCALE
from engine.units import RATE, sign_of

#: Most tiers of a schedule.
TIERS_MAX = 64

#: (amount up to which, weight)
CollateralRow = tuple[int, int]


def collateral_terms(
    line: Mapping[str, Any], asset: Asset | None, value: Asset | None
) -> tuple[int, list[CollateralRow] | None, int, int]:
    """Return exponent, tiers, conversion threshold and fee of a `collateral` command.

    Parameters
    ----------
    line : mapping
        The command.
    asset, value : Asset or None
        The assets that it names, None where there is none of this name.

    Returns
    -------
    tuple
        A minor unit of `asset` at a price of p (1e-8 units) is worth p / 10^exponent minor
        units of `value`. The tiers are None where they make no sense.
    """
    exponent = 0
    tiers = None
    threshold = line.get("conversion_threshold")
    if threshold is None:
        debt = NONE
    elif value is None:
        debt = min(0, sign_of(threshold))  # refused for its name, unless senseless
    else:
        debt = value.minor.positive_units(threshold)
    if asset is not None and value is not None:
        exponent = asset.decimals + RATE.decimals - value.decimals
        tiers = collateral_rows(line["tiers"], asset)
    return exponent, tiers, debt, RATE.units(line.get("conversion_fee", 0))


def collateral_rows(
    rows: Sequence[Mapping[str, Any]], asset: Asset
) -> list[CollateralRow] | None:
    """Return tiers as integers; None where they are none, too many, or make no sense."""
    if not 0 < len(rows) <= TIERS_MAX:
        return None
    parsed: list[CollateralRow] = []
    for number, row in enumerate(rows, start=1):
        weight = RATE.units(row["weight"])
        if row["max_amount"] is None:
            is_sound = number == len(rows)
            amount = MONEY_MAX
        else:
            amount = asset.minor.units(row["max_amount"])
            is_sound = amount > (parsed[-1][0] if parsed else 0)
        if not is_sound or not 0 <= weight <= RATE_SCALE:
            return None
        parsed.append((amount, weight))
    return parsed
