from engine.packing.events import EventPacker

__all__ = ["EventPacker"]
