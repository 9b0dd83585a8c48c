"""`engine top` and `engine health`: looking at a server that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.access_options import Key, ServerKey
from engine.errors import InputError, RunError

Endpoint = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Where the server takes commands.")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="127.0.0.1:PORT",
        help="Answer /metrics (for Prometheus), /health and /ready here. Needs the extra "
        "'server'."),
]
Log = Annotated[
    str | None,
    typer.Option(
        metavar="text|json", help="What stderr gets: lines for people (default), or objects."),
]


def top(
    endpoint: Endpoint,
    symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Show this book. Repeatable; default the first three."),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, max=20, help="Levels of a book.")] = 5,
    interval: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="S", help="Seconds between frames.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="S", help="Longest wait for an answer.")
    ] = 5.0,
    key: Key = None,
    server_key: ServerKey = None,
) -> None:
    """Show what a server is doing: rates, latencies, books, liquidation queue, fund.

    Where there are keys it needs one with role read or admin. Ends with Ctrl-C.
    """
    from rich.console import Console

    from engine.client import Client
    from engine.endpoints import check_endpoint
    from engine.keys import read_client_keys
    from engine.serving import top as view

    keys = read_client_keys(key, server_key)
    check_endpoint(endpoint, allow_remote=True, has_keys=True)
    with Client(endpoint, "top", timeout_s=timeout, keys=keys) as client:
        try:
            view.run(
                client, endpoint, symbol or (), depth, interval, is_once=once,
                console=Console(highlight=False))
        except KeyboardInterrupt:
            pass


def health(
    endpoint: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT",
            help="Where the server takes commands, or http://127.0.0.1:PORT of --metrics."),
    ],
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="S", help="Longest wait for an answer.")
    ] = 5.0,
    key: Key = None,
    server_key: ServerKey = None,
) -> None:
    """Exit with 0 if a server takes commands, with 1 if not, and say so in a line."""
    from engine.keys import read_client_keys

    if endpoint.startswith("http://"):
        is_ready, line = _health_over_http(endpoint, timeout)
    else:
        from engine.client import Client
        from engine.endpoints import check_endpoint
        from engine.serving.top import health as ask

        keys = read_client_keys(key, server_key)
        check_endpoint(endpoint, allow_remote=True, has_keys=True)
        with Client(endpoint, "health", timeout_s=timeout, keys=keys) as client:
            is_ready, line = ask(client)
    if not is_ready:
        raise RunError(f"{endpoint}: {line}")
    print(line)


def _health_over_http(url: str, timeout_s: float) -> tuple[bool, str]:
    import json
    import urllib.error
    import urllib.request

    from engine.serving.figures import state_line

    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/ready", timeout=timeout_s) as page:
            body, is_ready = page.read(65_536), True
    except urllib.error.HTTPError as error:
        body, is_ready = error.read(65_536), False
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        text = getattr(reason, "strerror", None) or str(reason)
        raise RunError(f"{url}: {text.lower()}") from None
    try:
        return is_ready, state_line(json.loads(body))
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{url}: not a server's health page") from None
