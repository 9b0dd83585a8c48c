"""Keys, roles and limits as clients meet them: real servers, real sockets."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from support.servers import Server

from engine import wire
from engine.batches import empty_commands
from engine.client import Client, NoAnswer
from engine.endpoints import free_tcp_endpoint
from engine.errors import RunError
from engine.keys import ClientKeys, make_key_files, read_client_keys, read_key_pair
from engine.messages import Command

ROOT = Path(__file__).resolve().parents[2]
ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
ACCOUNTS = [{"cmd": "account", "account": number} for number in (1, 2)]

#: name → role and what else the clients file says.
CLIENTS = {
    "boss": 'role = "admin"',
    "desk": 'role = "trade"\naccounts = [1]',
    "eyes": 'role = "read"',
    "prices": 'role = "feed"',
    "slow": 'role = "admin"\ncommands_per_second = 1\nburst = 5',
    "small": 'role = "admin"\nmessage_size = 300\nopen_requests = 3',
    "flood": 'role = "trade"\ncommands_per_second = 200\nburst = 200',
}


class Realm:
    """A server with keys, and its clients."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        rows = ""
        for name, more in CLIENTS.items():
            _, _, public = make_key_files(str(folder), name)
            rows += f'[[client]]\nname = "{name}"\nkey = "{public.decode()}"\n{more}\n'
        make_key_files(str(folder), "server")
        make_key_files(str(folder), "stranger")
        self.clients = folder / "clients.toml"
        self.clients.write_text(rows)
        server.endpoint = free_tcp_endpoint()

    def start(self, *options: str) -> None:
        self.server.start(
            "--key", self.path("server"), "--clients", str(self.clients), *options)

    def path(self, name: str, suffix: str = ".key_secret") -> str:
        return str(self.folder / f"{name}{suffix}")

    def keys(self, name: str) -> ClientKeys:
        keys = read_client_keys(self.path(name), self.path("server", ".key"))
        assert keys is not None
        return keys

    def client(self, name: str, called: str | None = None, **options: float) -> Client:
        return Client(self.server.endpoint, called or name, keys=self.keys(name),
                      **{"timeout_s": 20, "retry_s": 5, **options})

    def hang_up(self, line: str) -> None:
        """Send SIGHUP and wait until the server has said what it made of it."""
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not any(line in said for said in self.server.lines):
            assert time.monotonic() < deadline, self.server.lines
            time.sleep(0.02)

    def secrets(self) -> list[str]:
        return [
            read_key_pair(str(path)).secret.decode()
            for path in self.folder.glob("*.key_secret")]


@pytest.fixture
def realm(shell, tmp_path: Path) -> Iterator[Realm]:
    server = Server(tmp_path, shell.core)
    yield Realm(tmp_path / "keys", server)
    server.close()


# --- who comes in ---------------------------------------------------------------------------


def test_only_the_keys_of_the_file_come_in(realm):
    realm.start()
    stranger = realm.keys("stranger")
    wrong_server = ClientKeys(realm.keys("boss").pair, stranger.pair.public)
    for keys in (None, stranger, wrong_server):
        with Client(realm.server.endpoint, "boss", timeout_s=0.6, retry_s=0.3, keys=keys) as one:
            with pytest.raises(NoAnswer):
                one.send(ASSET)
    with realm.client("boss") as boss:
        assert boss.send(ASSET).seq == 1
    realm.server.stop()
    assert [entry.client for entry in realm.server.entries()] == ["boss"]


def test_nobody_sends_under_the_name_of_another(realm):
    realm.start()
    with realm.client("desk", called="boss") as liar:
        for attempt in (liar.hello, lambda: liar.send(ASSET)):
            with pytest.raises(RunError, match="wrong_client: the key is that of 'desk', not of"):
                attempt()
        liar.next_request = 1
        with pytest.raises(RunError, match="wrong_client"):
            liar.send(ASSET)
    assert realm.server.entries() == []


def test_a_name_taken_on_the_socket_gives_nothing(realm):
    """The peer's name is the client's own choice: roles go by the key of each message."""
    realm.start()
    for name, code in (("boss", "accepted"), ("eyes", "forbidden")):
        asset = {**ASSET, "asset": name.upper()}
        message = [wire.COMMANDS, wire.encode_commands(name, 1, [asset])]
        answer = None
        while answer is None:  # the name is free only once the connection before is gone
            answer = _ask_as(b"me", realm, name, message)
        assert wire.decode_outcomes(answer)[3][0][0] == code


def _ask_as(identity: bytes, realm: Realm, name: str, message: list[bytes]) -> bytes | None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.ROUTING_ID, identity)
        realm.keys(name).unlock(dealer)
        dealer.connect(realm.server.endpoint)
        dealer.send_multipart(message)
        return dealer.recv_multipart()[1] if dealer.poll(1000) else None


def test_the_events_socket_knows_roles_too(realm):
    endpoint = free_tcp_endpoint()
    realm.start("--events", endpoint)
    context = zmq.Context()
    heard = {}
    for name in ("eyes", "desk", "prices", "stranger"):
        listener = context.socket(zmq.SUB)
        listener.setsockopt(zmq.SUBSCRIBE, b"")
        realm.keys(name).unlock(listener)
        listener.connect(endpoint)
        heard[name] = listener
    assert heard["eyes"].poll(10_000), "no heartbeat"
    assert not any(heard[name].poll(700) for name in ("desk", "prices", "stranger"))
    for listener in heard.values():
        listener.close(linger=0)
    context.term()


# --- roles ----------------------------------------------------------------------------------

MARK = {"cmd": "mark", "symbol": "BTC", "mark_price": "1"}
CANCEL = {"cmd": "cancel", "account": 1, "symbol": "BTC", "order_id": 1}
OTHERS_CANCEL = {**CANCEL, "account": 2}
DEPOSIT = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1"}


SENT = [MARK, CANCEL, OTHERS_CANCEL, DEPOSIT]
CODES = {
    "boss": ["rejected", "rejected", "rejected", "accepted"],
    "desk": ["forbidden", "rejected", "forbidden", "forbidden"],
    "eyes": ["forbidden"] * 4,
    "prices": ["rejected", "forbidden", "forbidden", "forbidden"],
}
ASKED = [
    {"query": "insurance"}, {"query": "account", "account": 1}, {"query": "totals"},
    {"query": "state_hash"}]
ANSWERED = {
    "boss": [True] * 4, "desk": [True, True, False, False], "eyes": [True] * 4,
    "prices": [True, False, False, False]}


def test_each_role_sends_what_is_its_own(realm):
    realm.start()
    with realm.client("boss") as boss:
        boss.send_many([ASSET, *ACCOUNTS])
    for name, codes in CODES.items():
        before = len(realm.server.entries())
        with realm.client(name) as one:
            outcomes = one.send_many(SENT)
            assert [outcome.code for outcome in outcomes] == codes
            assert all(
                outcome.seq is None and (
                    "may not send" in outcome.detail or "was not granted" in outcome.detail)
                for outcome in outcomes if outcome.code == "forbidden")
            assert [_may_ask(one, query) for query in ASKED] == ANSWERED[name]
        taken = sum(code != "forbidden" for code in codes)
        assert len(realm.server.entries()) == before + taken


def _may_ask(client: Client, query: dict) -> bool:
    try:
        client.query(query)
    except RunError as error:
        assert "forbidden: role" in str(error)
        return False
    return True


def test_roles_and_limits_hold_for_packed_commands(realm):
    realm.start()
    cancels = empty_commands(3)
    cancels["cmd"], cancels["symbol"], cancels["order_id"] = Command.CANCEL, 0, 1
    cancels["account"] = [1, 1, 2]
    with realm.client("boss") as boss:
        boss.send_many([ASSET, *ACCOUNTS])
    with realm.client("desk") as desk:
        assert desk.send_packed(cancels[:2]).codes.tolist() == ["applied"] * 2
        assert desk.send_packed(cancels).codes.tolist() == ["forbidden"] * 3
    with realm.client("eyes") as eyes:
        assert eyes.send_packed(cancels).codes.tolist() == ["forbidden"] * 3
    with realm.client("small") as small:
        assert small.send_packed(cancels[:2]).codes.tolist() == ["applied"] * 2
        assert small.send_packed(cancels[:1]).codes.tolist() == ["applied"]
        with pytest.raises(RunError, match="message_too_large"):
            small.send_packed(empty_commands(4))
    with realm.client("slow") as slow:
        slow.next_request = 1
        assert slow.send_packed(cancels).codes.tolist() == ["applied"] * 3
        assert slow.send_packed(cancels).codes.tolist() == ["rate_limited"] * 3
        slow.next_request = 1
        assert slow.send_packed(cancels).codes.tolist() == ["applied"] * 3
    # One record a message.
    assert len(realm.server.entries()) == 3 + 1 + 2 + 1


def test_a_desk_sees_its_own_accounts_only(realm):
    realm.start()
    with realm.client("boss") as boss:
        boss.send_many([ASSET, *ACCOUNTS])
    with realm.client("desk") as desk:
        assert desk.query({"query": "account", "account": 1})["account"] == 1
        with pytest.raises(RunError, match="forbidden: account 2 was not granted"):
            desk.query({"query": "account", "account": 2})


def test_without_keys_everybody_has_the_local_role(shell, tmp_path):
    server = Server(tmp_path, shell.core)
    try:
        server.start("--local-role", "read")
        mode = stat.S_IMODE(os.stat(server.endpoint[6:]).st_mode)
        with server.client() as client:
            assert client.send(ASSET).code == "forbidden"
            assert client.query({"query": "totals"})["assets"] == {}
    finally:
        server.close()
    assert mode == 0o600


# --- limits ---------------------------------------------------------------------------------


def test_more_commands_than_the_rate_allows(realm):
    realm.start()
    with realm.client("slow") as slow:
        slow.next_request = 1
        first = slow.send_many([ASSET, ACCOUNTS[0], DEPOSIT, DEPOSIT])
        assert {outcome.code for outcome in first} == {"accepted"}
        over = slow.send_many([DEPOSIT] * 4)
        assert {outcome.code for outcome in over} == {"rate_limited"}
        assert "more than 1 commands a second; again in" in over[0].detail
        slow.next_request = 1  # what was taken is answered all the same
        assert slow.send_many([ASSET, ACCOUNTS[0], DEPOSIT, DEPOSIT]) == first
        slow.next_request = 5
        time.sleep(1.1)
        assert slow.send(DEPOSIT).seq == 5
        assert slow.send_many([DEPOSIT] * 6)[0].detail == (
            "6 commands at once, the burst is 5")
        with pytest.raises(RunError, match="rate_limited: more than 1 commands a second"):
            for _ in range(5):
                slow.query({"query": "totals"})
    assert len(realm.server.entries()) == 5


def test_too_large_and_too_many_at_once(realm):
    realm.start()
    with realm.client("small") as small:
        small.next_request = 1
        assert small.send_many([ASSET, *ACCOUNTS])[2].seq == 3
        outcomes = small.send_many([{"cmd": "time"}] * 4)
        assert {(each.code, each.detail) for each in outcomes} == {
            ("too_many_open", "more than 3 requests without an answer")}
        with pytest.raises(RunError, match=r"message_too_large: \d+ bytes, the limit is 300"):
            small.send_many([{**ASSET, "asset": "A" * 60}] * 5)
        assert small.send({"cmd": "time"}).seq == 4
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:  # beyond what any socket takes
        realm.keys("boss").unlock(dealer)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(realm.server.endpoint)
        dealer.send_multipart([wire.COMMANDS, b"x" * (wire.MESSAGE_SIZE_MAX + 1)])
        assert not dealer.poll(500)
    context.term()
    with realm.client("boss") as boss:
        assert boss.send({"cmd": "time"}).seq == 5


def test_a_client_that_floods_does_not_slow_down_the_others(realm):
    realm.start("--fsync", "off")
    with realm.client("boss") as boss:
        boss.send_many([ASSET, *ACCOUNTS])
        alone = _round_trips(boss)
        flood = subprocess.Popen(
            [sys.executable, "-c", FLOOD, realm.server.endpoint, realm.path("flood"),
             realm.path("server", ".key")],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
        try:
            assert flood.stdout is not None and flood.stdout.readline() == "flooding\n"
            beside = _round_trips(boss)
            outcomes = boss.query({"query": "server"})["outcomes"]
        finally:
            flood.kill()
            flood.communicate()
    taken = [entry.client for entry in realm.server.entries()].count("flood")
    assert 0 < taken < outcomes["rate_limited"]
    # Round trips, sorted: a turn has room for so many refused messages and no more.
    assert beside[len(beside) // 2] < max(10 * alone[len(alone) // 2], 0.05)


def _round_trips(client: Client) -> list[float]:
    times = []
    for _ in range(100):
        began = time.perf_counter()
        assert client.send(DEPOSIT).code == "accepted"
        times.append(time.perf_counter() - began)
    return sorted(times)


#: Sends as fast as the socket takes it, and reads what is there.
FLOOD = """
import sys
import zmq
from engine import wire
from engine.keys import read_client_keys
endpoint, key, server_key = sys.argv[1:]
dealer = zmq.Context().socket(zmq.DEALER)
read_client_keys(key, server_key).unlock(dealer)
dealer.connect(endpoint)
cancel = {"cmd": "cancel", "account": 1, "symbol": "BTC", "order_id": 1}
request, answered = 1, 0
while True:
    dealer.send_multipart([wire.COMMANDS, wire.encode_commands("flood", request, [cancel] * 10)])
    request += 10
    while dealer.poll(0):
        dealer.recv_multipart()
        answered += 1
        if answered == 100:
            print("flooding", flush=True)
"""


def test_a_key_is_taken_back_while_the_server_runs(realm):
    realm.start()
    with realm.client("boss") as boss, realm.client("eyes") as eyes:
        boss.send(ASSET)
        assert eyes.query({"query": "totals"})["seq"] == 1
        text = realm.clients.read_text()
        realm.clients.write_text("[[client]]\nname = 1")
        realm.hang_up("clients stay as they were: ")
        assert eyes.query({"query": "totals"})["seq"] == 1
        parts = text.split("[[client]]")
        realm.clients.write_text("[[client]]".join(
            part.replace('"admin"', '"read"') for part in parts if '"eyes"' not in part))
        realm.hang_up(f"{realm.clients}: {len(CLIENTS) - 1} clients")
        with pytest.raises(RunError, match="unknown_client: the key is not known any more"):
            eyes.query({"query": "totals"})
        assert boss.send(ASSET).code == "forbidden"
    with realm.client("eyes", timeout_s=0.5) as eyes, pytest.raises(NoAnswer):
        eyes.query({"query": "totals"})


# --- settings, files, secrets -------------------------------------------------------------------


def test_keys_are_made_and_checked_on_the_command_line(shell, tmp_path):
    made = shell.run("keys", "new", "desk", "--dir", str(tmp_path / "k"))
    secret = read_key_pair(str(tmp_path / "k" / "desk.key_secret")).secret.decode()
    public = made.figures["public_key"]
    assert made.code == 0 and secret not in made.out + made.err
    shown = shell.run("keys", "show", made.figures["secret_file"])
    assert (shown.code, shown.out.strip()) == (0, public)
    again = shell.run("keys", "new", "desk", "--dir", str(tmp_path / "k"))
    assert again.code == 2 and "exists already; keys are never replaced" in again.only_error
    clients = tmp_path / "clients.toml"
    clients.write_text(f'[[client]]\nname = "desk"\nkey = "{public}"\nrole = "read"\n')
    checked = shell.run("keys", "check", str(clients))
    assert checked.code == 0 and "desk  role=read accounts=all" in checked.out


@pytest.mark.parametrize("options, problem", [
    (["--clients", "c.toml"], "need --key, the server's own"),
    (["--key", "none"], "--key needs --clients, --feed-key or --follow-key"),
    (["--key", "none", "--clients", "c.toml"], "c.toml: cannot open: no such file"),
    (["--local-role", "root"], "--local-role root: expected trade, read, feed, admin"),
    (["--commands", "tcp://10.0.0.1:1", "--allow-remote"], "without keys open to everybody"),
])
def test_settings_of_keys_are_checked_first(shell, tmp_path, options, problem):
    done = shell.run(
        "serve", "--journal", "j", "--commands", f"ipc://{tmp_path}/c", *options)
    assert done.code == 2 and problem in done.only_error
    assert not (tmp_path / "j").exists()


def test_secrets_are_in_no_output(realm, tmp_path):
    config = tmp_path / "server.toml"
    config.write_text(f'events = "{free_tcp_endpoint()}"\ncheckpoint = 1\n')
    realm.start("--config", str(config))
    realm.hang_up("clients")
    with realm.client("boss") as boss:
        boss.send_many([ASSET, *ACCOUNTS])
        said = repr(realm.keys("boss")) + repr(boss.__dict__)
    rows = realm.server.stop()
    written = [
        path.read_bytes().decode("latin-1") for path in realm.server.journal.rglob("*")
        if path.is_file()]
    everything = "\n".join([*realm.server.lines, str(rows), said, *written])
    assert len(realm.secrets()) == len(CLIENTS) + 2
    assert not [secret for secret in realm.secrets() if secret in everything]


def test_a_feed_with_keys(realm, shell, scenario_file, tmp_path):
    """The publisher is the server of that socket, the engine its client."""
    endpoint = free_tcp_endpoint()
    _, feed_secret, _ = make_key_files(str(tmp_path), "feed")
    readers = tmp_path / "readers.toml"
    engine_key = read_key_pair(realm.path("server")).public.decode()
    readers.write_text(f'[[client]]\nname = "engine"\nkey = "{engine_key}"\nrole = "read"\n')
    server = shell.start(
        "serve", "--journal", str(realm.server.journal), "--scenario", scenario_file,
        "--marks", endpoint, "--core", shell.core, "--timeout", "20",
        "--key", realm.path("server"), "--feed-key", str(tmp_path / "feed.key"))
    sent = shell.finish(shell.start(
        "replay", "synthetic:seed=5,steps=40", "--speed", "max", "--bind", endpoint,
        "--key", feed_secret, "--clients", str(readers), "--timeout", "30"))
    assert sent.code == 0, sent.err
    done = shell.finish(server)
    assert done.code == 0, done.err
    assert done.figures["gaps"] == "0" and int(done.figures["commands"]) > 40
