"""Snapshots of an exchange: all of its state in bytes, and back.

A snapshot is the names that the façade knows, then the core's own image, then a checksum. The
image is the core's memory row by row: fast to write and to read, and good for the build that
made it only. What must outlive a build is the journal of commands; docs/formats.md has the
layout of both.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import InputError
from engine.instruments import build_instrument, make_asset

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from engine.exchange import Exchange

#: Version of the layout of the part before the core's image.
VERSION = 1

_MAGIC = b"PERPSNAP"
_HEAD = struct.Struct("<8sII")  # magic, version, bytes of the names
_CHECKSUM = 16


class SnapshotError(InputError):
    """Bytes that are no snapshot, are damaged, or are of another build of the engine."""


def save(exchange: Exchange, write: Callable[[Buffer], object]) -> None:
    """Hand a snapshot to a function, piece by piece.

    Parameters
    ----------
    exchange : Exchange
        Between two commands; events that nobody has drained are no part of its state.
    write : callable
        Called with each piece; a memoryview is valid during the call only.

    Notes
    -----
    Complexity: O(state), without a second copy of it in memory.
    """
    checksum = hashlib.blake2b(digest_size=_CHECKSUM)

    def pass_on(piece: Buffer) -> None:
        checksum.update(piece)
        write(piece)

    _check_core(exchange)
    names = json.dumps(_names(exchange), separators=(",", ":"), default=str).encode()
    pass_on(_HEAD.pack(_MAGIC, VERSION, len(names)) + names)
    exchange.core.snapshot(pass_on)
    write(checksum.digest())


def to_bytes(exchange: Exchange) -> bytes:
    """Return a snapshot as bytes."""
    out = io.BytesIO()
    save(exchange, out.write)
    return out.getvalue()


def load(make: Callable[[str], Exchange], data: Buffer) -> Exchange:
    """Return the exchange of a snapshot.

    Parameters
    ----------
    make : callable
        Makes an empty exchange on the core of a name.
    data : bytes-like
        What `save` wrote, whole.

    Raises
    ------
    SnapshotError
        Not a snapshot, damaged, or of another build.
    """
    try:
        whole = memoryview(data).cast("B")
    except TypeError:
        raise TypeError(
            f"a snapshot is bytes (Path(file).read_bytes()), not {type(data).__name__}") from None
    if len(whole) < _HEAD.size + _CHECKSUM or bytes(whole[:8]) != _MAGIC:
        raise SnapshotError("not a snapshot of an exchange")
    _, version, length = _HEAD.unpack_from(whole)
    if version != VERSION:
        raise SnapshotError(f"a snapshot of version {version}, this engine reads {VERSION}")
    body, checksum = whole[:-_CHECKSUM], bytes(whole[-_CHECKSUM:])
    if hashlib.blake2b(body, digest_size=_CHECKSUM).digest() != checksum:
        raise SnapshotError("the snapshot is damaged: its checksum is wrong")
    names = json.loads(bytes(body[_HEAD.size : _HEAD.size + length]))
    exchange = make("compiled")
    try:
        exchange.core.restore(body[_HEAD.size + length :])
    except ValueError as error:
        raise SnapshotError(str(error)) from None
    _restore_names(exchange, names)
    return exchange


def fork(make: Callable[[str], Exchange], exchange: Exchange) -> Exchange:
    """Return an exchange of its own with the same state and without events to drain."""
    _check_core(exchange)
    twin = make(exchange.core_name)
    twin.core = exchange.core.fork()
    # Assets, instruments and entries of client ids are never changed once made.
    twin.assets_by_index[:] = exchange.assets_by_index
    twin.instruments_by_index[:] = exchange.instruments_by_index
    twin.funds_by_index[:] = exchange.funds_by_index
    twin.client_ids = exchange.client_ids.copy()
    twin.index_names()
    return twin


def _check_core(exchange: Exchange) -> None:
    if exchange.core_name != "compiled":
        raise SnapshotError("the reference core has neither snapshots nor forks")


def _names(exchange: Exchange) -> dict[str, Any]:
    return {
        "assets": [[asset.name, asset.decimals] for asset in exchange.assets_by_index],
        "instruments": [one.terms for one in exchange.instruments_by_index],
        "funds": exchange.funds_by_index,
        "client_ids": [[*key, entries] for key, entries in exchange.client_ids.items()],
    }


def _restore_names(exchange: Exchange, names: Mapping[str, Any]) -> None:
    for index, (name, decimals) in enumerate(names["assets"]):
        exchange.assets_by_index.append(make_asset(index, name, decimals))
    exchange.funds_by_index[:] = names["funds"]
    settles = {asset.name: asset for asset in exchange.assets_by_index}
    for index, terms in enumerate(names["instruments"]):
        exchange.instruments_by_index.append(
            build_instrument(index, terms, settles[terms["settle"]]))
    exchange.client_ids.update(
        ((account, order_id), tuple((seq, name) for seq, name in entries))
        for account, order_id, entries in names["client_ids"])
    exchange.index_names()
