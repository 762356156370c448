"""The connection of a gateway to its server goes silent: packets are lost, and nobody says that it has ended."""

from pathlib import Path

import httpx
import pytest

from tests.cli.command import KEY, serving
from tests.faults.relay import Relay
from tests.privacy import SUITE


@pytest.mark.timeout(300)
async def test_a_gateway_whose_connection_goes_silent_makes_another(tmp_path: Path, long: bool) -> None:
    if not long:
        pytest.skip("a gateway takes 25 s to notice")
    folder, sent = tmp_path / "gateway", {"distinct_id": "user_123"}
    folder.mkdir()
    SUITE.send(sent, KEY)
    with serving(cwd=tmp_path) as server:
        relay = Relay(server.address)
        async with relay.listening() as target, httpx.AsyncClient(trust_env=False, timeout=60) as client:
            given = {"rest_address": "127.0.0.1:0"}
            with serving("--target", target, cwd=folder, settings=given, command="gateway") as gateway:
                url = f"http://{gateway.rest}/identify"
                statuses = []
                for lost in (False, True, False):
                    if lost:
                        relay.lose()
                    statuses.append((await client.post(url, json=sent, headers={"x-api-key": KEY})).status_code)
                assert statuses == [200, 503, 200]
