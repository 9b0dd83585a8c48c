"""Clients of `engine serve --commands`: they ask again until they are answered.

The protocol is in `requests`, without a socket; `sync` and `aio` are thin.
"""

from engine.client.aio import AsyncClient
from engine.client.requests import NoAnswer
from engine.client.sync import Client

__all__ = ["AsyncClient", "Client", "NoAnswer"]
