"""Which publishers a server follows, and by which rules: read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import InputError
from engine.pricing.scale import SECOND_NS
from engine.serving.agreement import AgreementRules
from engine.serving.desk import DeskRules
from engine.serving.pricing_settings import SymbolPricing, read_pricing

_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}")
#: Of the only publisher, where it has none.
ONLY_NAME = "feed"
_STALE_AFTER_S = 10.0
#: Options that say by which rules publishers are followed, beside `marks`.
RULES = ("min_sources", "max_deviation", "stale_after", "pricing")


@dataclass(frozen=True)
class FeedAddress:
    """Where a publisher is.

    Attributes
    ----------
    name : str
    endpoint : str
    resend : str or None
        Where it sends steps again.
    """

    name: str
    endpoint: str
    resend: str | None = None

    @classmethod
    def parse(cls, text: str) -> FeedAddress:
        """Read `NAME=ENDPOINT` or `NAME=ENDPOINT,RESEND`, or an endpoint alone.

        Raises
        ------
        InputError
        """
        name, is_named, endpoint = text.partition("=")
        if not is_named or "://" in name:
            return cls("", text)
        if not _NAME.fullmatch(name):
            raise InputError(
                f"--marks {text!r:.80}: a publisher's name is 1 to 32 letters, digits and ._-")
        endpoint, _, resend = endpoint.partition(",")
        return cls(name, endpoint, resend or None)

    @property
    def endpoints(self) -> list[str]:
        """All of them."""
        return [self.endpoint] if self.resend is None else [self.endpoint, self.resend]


@dataclass(frozen=True)
class FeedSettings:
    """Publishers, and the rules for what they say.

    Attributes
    ----------
    addresses : tuple of FeedAddress
        Of different names.
    rules : AgreementRules
    pricing : tuple of SymbolPricing
        Symbols whose marks the server makes.
    """

    addresses: tuple[FeedAddress, ...]
    rules: AgreementRules
    pricing: tuple[SymbolPricing, ...] = ()

    @property
    def stale_after_s(self) -> float:
        """How old a price may be."""
        return self.rules.max_age_ns / SECOND_NS

    def desk_rules(self, *, has_clock: bool) -> DeskRules:
        """Return the rules of the desk."""
        return DeskRules(
            tuple(address.name for address in self.addresses), self.rules, has_clock,
            self.pricing)


def feed_settings(
    marks: Sequence[str], options: Mapping[str, Any]
) -> tuple[str | None, FeedSettings | None]:
    """Tell how the publishers are followed.

    Parameters
    ----------
    marks : sequence of str
        `NAME=ENDPOINT`, or an endpoint alone if it is the only one.
    options : mapping
        With those of `RULES`, None where they are not given.

    Returns
    -------
    endpoint : str or None
        Of the only publisher, where no rule asks for more: its steps become commands as they are.
    feeds : FeedSettings or None
        Where there are several, or a name, or a rule.

    Raises
    ------
    InputError
    """
    addresses = [FeedAddress.parse(text) for text in marks]
    rules = {name: options[name] for name in RULES if options.get(name) is not None}
    if not addresses:
        if rules:
            raise InputError(f"--{next(iter(rules)).replace('_', '-')} goes with --marks")
        return None, None
    if len(addresses) == 1 and not addresses[0].name:
        if not rules:
            return addresses[0].endpoint, None
        addresses = [FeedAddress(ONLY_NAME, addresses[0].endpoint)]
    for address in addresses:
        if not address.name:
            raise InputError(
                f"--marks {address.endpoint}: several publishers need names, NAME=ENDPOINT")
    for what, values in (
            ("name", [address.name for address in addresses]),
            ("endpoint", [one for address in addresses for one in address.endpoints])):
        if len(set(values)) != len(values):
            raise InputError(f"--marks: two publishers of one {what}")
    agreement = _agreement_rules(rules, len(addresses))
    names = [address.name for address in addresses]
    pricing = read_pricing(
        rules.get("pricing", {}), names, agreement.max_age_ns, agreement.min_sources)
    return None, FeedSettings(tuple(addresses), agreement, pricing)


def _agreement_rules(rules: Mapping[str, Any], source_count: int) -> AgreementRules:
    least = rules.get("min_sources", 1)
    if not 1 <= least <= source_count:
        raise InputError(f"--min-sources {least}: expected 1 to {source_count}, the publishers")
    stale_after_s = rules.get("stale_after", _STALE_AFTER_S)
    if not 0.001 <= stale_after_s <= 86_400:  # also refuses what is not a number
        raise InputError(
            f"--stale-after {stale_after_s:g}: expected seconds between 0.001 and 86400")
    deviation = rules.get("max_deviation", AgreementRules.max_deviation)
    try:
        return AgreementRules(
            least, None if deviation == "none" else deviation, round(stale_after_s * SECOND_NS))
    except InputError:
        raise InputError(
            f"--max-deviation {deviation}: expected a share above 0, 1 at most, with 8 digits "
            "after the point at most, or none") from None
