"""The asyncio client against real servers: many requests at once, kills, refusals, timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import zmq
import zmq.asyncio
from support.servers import Server

from engine import wire
from engine.batches import empty_commands
from engine.client import AsyncClient, NoAnswer
from engine.errors import InputError, RunError
from engine.messages import Command

ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
ACCOUNT = {"cmd": "account", "account": 1}
DEPOSIT = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1"}
WALLET = {"query": "account", "account": 1}


def run(server: Server, use: Callable[[AsyncClient], Awaitable[None]], **options) -> None:
    async def main() -> None:
        options.setdefault("timeout_s", 60)
        async with AsyncClient(server.endpoint, "desk", retry_s=0.2, **options) as client:
            await use(client)

    asyncio.run(main())


def test_a_hundred_requests_at_once(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        assert [o.seq for o in await client.send_many([ASSET, ACCOUNT])] == [1, 2]
        sent = [client.send(DEPOSIT) for _ in range(100)]
        asked = [client.query(WALLET) for _ in range(20)]
        found = await asyncio.gather(*sent, *asked)
        assert [outcome.seq for outcome in found[:100]] == list(range(3, 103))
        # All were asked behind the commands, on the same connection.
        assert [answer["balances"]["USDT"] for answer in found[100:]] == ["100"] * 20
        assert (client.next_request, client.epoch) == (103, server.epoch)

    run(server, use)
    assert [entry.request for entry in server.entries()] == list(range(1, 103))


def test_a_server_that_is_killed_meanwhile(server):
    """Everything is answered in the end, in order, and is in the journal once."""
    server.start()

    async def use(client: AsyncClient) -> None:
        await client.send_many([ASSET, ACCOUNT])
        epochs = {client.epoch}
        sent: list[asyncio.Task] = []
        for turn in range(3):
            sent += [asyncio.create_task(client.send(DEPOSIT)) for _ in range(100)]
            await asyncio.sleep(0.02 * turn)
            await asyncio.to_thread(server.kill)
            sent += [asyncio.create_task(client.send(DEPOSIT)) for _ in range(20)]
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
            await asyncio.gather(*sent)
            epochs.add(client.epoch)
        outcomes = await asyncio.gather(*sent)
        assert [(o.code, o.seq) for o in outcomes] == [
            ("accepted", seq) for seq in range(3, 363)]
        assert len(epochs) == 4
        assert (await client.query(WALLET))["balances"]["USDT"] == "360"

    run(server, use)
    assert [entry.request for entry in server.entries()] == list(range(1, 363))


def test_more_than_may_be_on_their_way_wait_for_room(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        await client.send_many([ASSET, ACCOUNT])
        messages = [client.send_many([DEPOSIT] * 300) for _ in range(12)]
        outcomes = [each for found in await asyncio.gather(*messages) for each in found]
        assert [outcome.seq for outcome in outcomes] == list(range(3, 3603))

    run(server, use)


def test_a_slow_server_is_not_asked_again_for_what_it_has(tmp_path):
    """Each answer comes in time after the one before: all of them on the first connection."""
    endpoint, count = f"ipc://{tmp_path}/slow", 8
    heard = []

    async def answer_slowly(router: zmq.asyncio.Socket) -> None:
        while True:
            peer, kind, payload = await router.recv_multipart()
            heard.append(kind)
            if kind == wire.HELLO:
                reply = [wire.HELLO, wire.encode_welcome(1, "desk", 0, 0, 0)]
            else:
                await asyncio.sleep(0.25)
                first = wire.decode_commands(payload).first_request
                row = ["accepted", first, 0, None, None]
                reply = [wire.OUTCOMES, wire.encode_outcomes(1, "desk", first, [row])]
            await router.send_multipart([peer, *reply])

    async def main() -> None:
        context = zmq.asyncio.Context()
        with context.socket(zmq.ROUTER) as router:
            router.bind(endpoint)
            answering = asyncio.create_task(answer_slowly(router))
            async with AsyncClient(endpoint, "desk", retry_s=0.8, timeout_s=30) as client:
                outcomes = await asyncio.gather(*(client.send(DEPOSIT) for _ in range(count)))
            assert [outcome.seq for outcome in outcomes] == list(range(1, count + 1))
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        context.term()

    asyncio.run(main())
    assert heard == [wire.HELLO] + [wire.COMMANDS] * count


def packed(count: int, amount: int = 1) -> np.ndarray:
    rows = empty_commands(count)
    rows["cmd"], rows["account"], rows["symbol"] = Command.DEPOSIT, 1, 0
    rows["quantity"] = amount
    return rows


def test_packed_tables_among_other_commands(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        await client.send_many([ASSET, ACCOUNT])
        sizes = [1, 300, 5_000, 2, *[40] * 150]  # more messages than are remembered
        sent = [client.send_packed(packed(size)) for size in sizes]
        sent.append(client.send_many([DEPOSIT] * 7))
        sent.append(client.send_packed(packed(3, -1)))
        *tables, maps, senseless = await asyncio.gather(*sent)
        seqs = [seq for table in tables for seq in table.seqs.tolist()]
        assert seqs == list(range(3, 3 + sum(sizes)))
        assert [outcome.seq for outcome in maps] == list(range(seqs[-1] + 1, seqs[-1] + 8))
        assert not senseless.accepted.any() and len(senseless) == 3
        answer = await client.query(WALLET)
        assert answer["balances"]["USDT"] == f"{7 + sum(sizes) / 1_000_000:.6f}".rstrip("0")
        with pytest.raises(InputError, match="got 16385"):
            await client.send_packed(packed(16_385))
        with pytest.raises(TypeError, match="commands"):
            await client.send_packed([1, 2, 3])
        assert client.next_request == seqs[-1] + 11  # nothing of these took a number

    run(server, use)


def test_packed_tables_outlive_the_server(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        await client.send_many([ASSET, ACCOUNT])
        under_way = [asyncio.create_task(client.send_packed(packed(200))) for _ in range(60)]
        await asyncio.sleep(0.05)
        server.kill()
        server.start()
        await asyncio.gather(*under_way)
        answer = await client.query(WALLET)
        assert answer["balances"]["USDT"] == "0.012" and answer["seq"] == 12_002

    run(server, use)


def test_the_same_table_again_under_its_number(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        await client.send_many([ASSET, ACCOUNT])
        server.kill()
        with pytest.raises(NoAnswer) as lost:
            await client.send_packed(packed(10))
        assert lost.value.first_request == 3
        server.start()
        for _ in range(2):  # the second is answered as the first was, and not applied
            again = await client.send_packed(packed(10), first_request=3)
            assert again.seqs.tolist() == list(range(3, 13))
        assert (await client.query(WALLET))["balances"]["USDT"] == "0.00001"

    run(server, use, timeout_s=3)


def test_one_bad_request_among_good_ones_fails_alone(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        found = await asyncio.gather(
            client.query({"query": "totals"}), client.query({"query": "unheard of"}),
            client.send({"cmd": "nonsense"}), client.send(ASSET),
            client.query({"query": "totals"}), return_exceptions=True)
        assert isinstance(found[1], RunError) and "unknown query" in str(found[1])
        assert found[2].code == "malformed" and found[3].code == "accepted"
        assert found[0]["reply"] == found[4]["reply"] == "totals"
        with pytest.raises(InputError, match="got 1025"):
            await client.send_many([DEPOSIT] * 1025)

    run(server, use)


def test_nobody_there_and_asking_again_under_the_same_number(server):
    server.start()

    async def use(client: AsyncClient) -> None:
        await client.send_many([ASSET, ACCOUNT])
        server.kill()
        calls = [client.send(DEPOSIT), client.send(DEPOSIT), client.query(WALLET)]
        lost = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, NoAnswer) for each in lost)
        assert [each.first_request for each in lost] == [3, 4, None]
        server.start()
        again = [await client.send(DEPOSIT, first_request=each.first_request)
                 for each in lost[:2]]
        assert [outcome.seq for outcome in again] == [3, 4] and client.next_request == 5
        # One that was passed over is told that it is too late, and is not applied.
        await client.send(DEPOSIT, first_request=7)
        assert (await client.send(DEPOSIT, first_request=6)).code == "request_too_old"
        assert (await client.query(WALLET))["balances"]["USDT"] == "3"

    run(server, use, timeout_s=3)


def test_closing_ends_what_is_under_way(tmp_path):
    async def main() -> None:
        client = AsyncClient(f"ipc://{tmp_path}/x", "desk", timeout_s=30)
        asked = asyncio.create_task(client.query(WALLET))
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(NoAnswer, match="the client was closed"):
            await asked

    asyncio.run(main())


def test_an_endpoint_that_is_none():
    async def main() -> None:
        async with AsyncClient("nonsense", "desk") as client:
            with pytest.raises(RunError, match="cannot connect to nonsense"):
                await client.query(WALLET)

    asyncio.run(main())
