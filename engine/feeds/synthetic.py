"""The embedded default feed: a generated crash over three symbols.

Calm, a slide, a crash in three legs, a churning bottom, a rebound, calm again. One
market factor moves all symbols (each with its own beta), on top of it every symbol has
its own noise that reverts to the path. Integer arithmetic from start to end:
the same seed gives the same strings on every machine. Nothing here is market
data, and every output that uses it says `synthetic`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

from engine.errors import InputError
from engine.feeds.rng import NORMAL_ONE, SplitMix64
from engine.feeds.steps import Row, Step

PREFIX = "synthetic"
STEP_COUNT_DEFAULT = 20_000
_STEP_COUNT_MAX = 10_000_000
#: 2025-01-01T00:00:00Z; an arbitrary but fixed start of the generated clock.
_START_NS = 1_735_689_600_000_000_000
_STEP_NS = 500_000_000
#: Prices inside are integers of 1e-12, moves integers of 1e-9.
_PRICE_ONE = 10**12
_MOVE_ONE = 10**9
#: Noise forgets itself over about this share of the path.
_MEMORY_PER_PATH = 60


@dataclass(frozen=True)
class _Coin:
    symbol: str
    first_price: int
    beta_percent: int
    decimals: int


@dataclass(frozen=True)
class _Phase:
    percent_of_steps: int
    move_e4: int  # whole move of the market factor over the phase, 1e-4
    noise_e6: int  # standard deviation of one step's noise in a path of default length, 1e-6


_COINS = (
    _Coin("BTCUSDT", 60_000, 100, 4),
    _Coin("ETHUSDT", 3_000, 135, 5),
    _Coin("SOLUSDT", 150, 170, 6),
)
_PHASES = (
    _Phase(26, 40, 60),
    _Phase(8, -120, 120),
    _Phase(4, 50, 120),
    _Phase(7, -190, 180),
    _Phase(3, -420, 390),
    _Phase(2, 160, 390),
    _Phase(4, -620, 480),
    _Phase(2, 220, 480),
    _Phase(4, -640, 630),
    _Phase(5, -60, 630),
    _Phase(8, 520, 390),
    _Phase(5, -130, 300),
    _Phase(22, 160, 120),
)


@dataclass(frozen=True)
class SyntheticSpec:
    """What a `synthetic:seed=…,steps=…` argument asks for.

    Attributes
    ----------
    seed : int
    step_count : int
        Steps in the whole path; the phases stretch with it.
    """

    seed: int = 1
    step_count: int = STEP_COUNT_DEFAULT

    def __str__(self) -> str:
        return f"{PREFIX}:seed={self.seed},steps={self.step_count}"

    @classmethod
    def parse(cls, argument: str) -> SyntheticSpec:
        """Read `synthetic`, `synthetic:seed=7` or `synthetic:seed=7,steps=5000`."""
        values = {"seed": 1, "steps": STEP_COUNT_DEFAULT}
        _, _, options = argument.partition(":")
        for part in filter(None, options.split(",")):
            key, _, text = part.partition("=")
            if key not in values or not (text.isascii() and text.isdigit() and len(text) < 20):
                raise InputError(f"{argument}: expected synthetic:seed=NUMBER,steps=NUMBER")
            values[key] = int(text)
        if not 10 <= values["steps"] <= _STEP_COUNT_MAX:
            raise InputError(f"{argument}: steps must be between 10 and {_STEP_COUNT_MAX}")
        return cls(values["seed"], values["steps"])


def is_synthetic(argument: str) -> bool:
    """Tell whether a feed argument asks for the generated feed rather than a file."""
    return argument == PREFIX or argument.startswith(PREFIX + ":")


def generate_crash(spec: SyntheticSpec) -> Iterator[Step]:
    """Generate the crash, one step of three marks after another.

    Parameters
    ----------
    spec : SyntheticSpec

    Yields
    ------
    Step
        Mark and index price of every symbol; the index follows the same path
        with less noise.
    """
    draw = SplitMix64(spec.seed)
    levels = [coin.first_price * _PRICE_ONE for coin in _COINS]
    noises = [0] * len(_COINS)
    market_noise = 0
    ts_ns = _START_NS
    memory = max(spec.step_count // _MEMORY_PER_PATH, 2)
    for step_count, drift, noise_scale in _schedule(spec.step_count):
        for _ in range(step_count):
            rows: list[Row] = []
            market_noise += _shock(draw, noise_scale) - market_noise // memory
            for at, coin in enumerate(_COINS):
                levels[at] += levels[at] * drift * coin.beta_percent // (100 * _MOVE_ONE)
                noises[at] += _shock(draw, noise_scale // 2) - noises[at] // memory
                common = market_noise * coin.beta_percent // 100
                mark = levels[at] * (_MOVE_ONE + common + noises[at]) // _MOVE_ONE
                index = levels[at] * (_MOVE_ONE + common) // _MOVE_ONE
                rows.append((coin.symbol, _text(mark, coin), _text(index, coin)))
            yield ts_ns, rows
            ts_ns += _STEP_NS


def _schedule(step_count: int) -> Iterator[tuple[int, int, int]]:
    """Yield (steps, drift per step in 1e-9, noise per step in 1e-9) of each phase."""
    done_percent = 0
    done_steps = 0
    for phase in _PHASES:
        done_percent += phase.percent_of_steps
        steps = step_count * done_percent // 100 - done_steps
        done_steps += steps
        if steps:
            # Fewer steps are longer ones: noise grows with the root of a step's length.
            noise_scale = phase.noise_e6 * isqrt(10**6 * STEP_COUNT_DEFAULT // step_count)
            yield steps, phase.move_e4 * 10**5 // steps, noise_scale


def _shock(draw: SplitMix64, scale: int) -> int:
    return draw.normal() * scale // NORMAL_ONE


def _text(price: int, coin: _Coin) -> str:
    whole, rest = divmod(price * 10**coin.decimals // _PRICE_ONE, 10**coin.decimals)
    return f"{whole}.{rest:0{coin.decimals}d}"
