"""Mistakes of a user: one line that says what and where, before anything is touched or run."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from engine import cli
from engine.serving.figures import state_line

TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n" + "".join(
    f"x,BTCUSDT,{1_760_000_000_000_000 + at * 500_000},,{at},buy,{100 + at},1\n"
    for at in range(4))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, and we are in it; with a feed in a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "feed.csv").write_text(TRADES)
    return tmp_path


def _told(capsys, *arguments):
    code = cli.call(cli.app, arguments)
    return code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("line, problem", [
    ("serve --journal feed.csv --commands ipc://c", "feed.csv: a file, not a folder"),
    ("serve --journal j --commands ipc://c --scenario none", "none: cannot open: no such file"),
    ("serve --journal j --commands ipc://c --scenario feed.csv", "feed.csv:1: not JSON"),
    ("serve --journal j --commands ipc://c --marks a=ipc://a --max-deviation much",
     "--max-deviation much: expected a share above 0"),
    ("serve --journal j --commands ipc://c --marks a=ipc://a --max-deviation 0",
     "--max-deviation 0: expected a share above 0"),
    ("top foo", "endpoint 'foo': expected tcp"),
    ("keys show none.key", "none.key: cannot open: no such file or directory"),
    ("keys new x --dir feed.csv", "feed.csv: a file, not a folder"),
    ("load --page none/x.html", "--page none/x.html: there is no folder none"),
    ("load --hgrm .", "--hgrm .: a folder"),
    ("load --knee --target 0ms", "--target 0ms: expected 1 us to 60 s"),
    ("load --in-process --symbol X", "(there are: BTCUSDT, ETHUSDT, SOLUSDT)"),
    ("replay feed.csv --in-process --page none/x.html", "--page none/x.html: there is no folder"),
    ("replay feed.csv --in-process --start 2030-01-01", "--start and --end: nothing of the feed"),
    ("bench risk --page none/x.html", "--page none/x.html: there is no folder none"),
])
def test_a_mistake_is_one_line_and_touches_nothing(folder, capsys, line, problem):
    code, lines = _told(capsys, *line.split())
    assert code == 2 and len(lines) == 1 and problem in lines[0]
    assert os.listdir(folder) == ["feed.csv"]


def test_a_socket_that_cannot_be_bound_is_named_once(folder, capsys):
    code, lines = _told(capsys, "replay", "feed.csv", "--bind", f"ipc://{folder}/none/socket")
    assert code == 2
    assert lines == [
        f"error: cannot bind ipc://{folder}/none/socket: no such file or directory"]


@pytest.mark.parametrize("option, note", [
    ("--map BTC=BTCUSDT", "--map BTC=BTCUSDT: the feed has no BTC"),
    ("--derive ALT=ETHUSDT:2:10", "--derive ALT=ETHUSDT:2:10: the feed has no marks of ETHUSDT"),
    ("--map BTCUSDT=BTC", None),
    ("--derive ALT=BTCUSDT:2:10", None),
])
def test_names_that_a_feed_does_not_have_are_told_once(folder, capsys, option, note):
    """Otherwise a misspelt name looks as if nothing had come of it."""
    code, lines = _told(
        capsys, "replay", "feed.csv", "--in-process", "--loop", "2", *option.split())
    assert code == 0 and lines == ([] if note is None else [note])


def test_the_health_of_a_server_without_an_epoch():
    assert state_line({"state": "starting", "epoch": None, "seq": None}) == "starting"
    assert state_line({"state": "serving", "epoch": 5, "seq": 0}) == "serving: epoch 5, seq 0"


class _Starting(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.end_headers()
        self.wfile.write(json.dumps({"state": "starting", "epoch": None, "seq": None}).encode())

    def log_message(self, *words):
        pass


def test_health_over_http_says_why_not(capsys):
    server = HTTPServer(("127.0.0.1", 0), _Starting)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        assert _told(capsys, "health", url) == (1, [f"error: {url}: starting"])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert _told(capsys, "health", url) == (1, [f"error: {url}: connection refused"])
