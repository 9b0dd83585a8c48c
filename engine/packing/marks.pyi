from collections.abc import Iterable

from typing_extensions import disjoint_base

from engine.instruments import Instrument

@disjoint_base
class MarkReader:
    def __init__(self, instruments: Iterable[Instrument], has_time: bool) -> None: ...
    def read(self, payload: bytes) -> tuple[int, int, list[str], bytes] | None: ...

def sum_rows(rows: bytes, factors: list[int]) -> bytes: ...
