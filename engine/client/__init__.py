"""Clients of `engine serve`: commands and queries, and what the server publishes.

`Client` and `AsyncClient` number their commands and ask again until they are answered;
`Subscriber` and `AsyncSubscriber` follow topics, notice what is missing, and heal it with a
snapshot. The protocols are in `requests` and `following`, without a socket; the rest is thin.
"""

from engine.client.aio import AsyncClient
from engine.client.following import Ended, Item, Snapshot, SnapshotRefused, Update
from engine.client.requests import NoAnswer
from engine.client.subscriber import Subscriber
from engine.client.subscriber_aio import AsyncSubscriber
from engine.client.sync import Client

__all__ = [
    "AsyncClient",
    "AsyncSubscriber",
    "Client",
    "Ended",
    "Item",
    "NoAnswer",
    "Snapshot",
    "SnapshotRefused",
    "Subscriber",
    "Update",
]
