"""Records of the core to bytes for the wire; compiled, or plain where that is not built."""

try:
    from engine.packing.events import EventPacker
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("engine.packing."):
        raise
    from engine.packing.plain import EventPacker

__all__ = ["EventPacker"]
