from collections.abc import Container

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from engine.exchange import Exchange

@disjoint_base
class EventPacker:
    def __init__(self, exchange: Exchange) -> None: ...
    def pack(
        self, rows: npt.NDArray[np.int64], epoch: int, ts: int | None = ...,
        accounts: Container[int] = ...,
    ) -> list[tuple[int, bytes, dict[int, bytes]]]: ...
