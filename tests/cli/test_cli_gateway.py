"""`aka gateway`: a process of its own in front of a server that comes and goes."""

import time
from pathlib import Path

import httpx

from tests.cli.command import KEY, serving
from tests.privacy import SUITE


def identify(rest: str) -> httpx.Response:
    sent = {"distinct_id": "user_123"}
    SUITE.send(sent, KEY)
    return httpx.post(f"http://{rest}/identify", json=sent, headers={"x-api-key": KEY}, trust_env=False)


def test_a_gateway_is_there_before_its_server_and_calls_it_again_after_a_restart(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/aka.sock"
    folder = tmp_path / "gateway"
    folder.mkdir()
    with serving(
        "--target", address, cwd=folder, settings={"rest_address": "127.0.0.1:0"}, command="gateway"
    ) as gateway:
        for _ in range(2):
            away = identify(gateway.rest)
            assert (away.status_code, away.json()["error_code"]) == (503, "internal-error")
            with serving(cwd=tmp_path, settings={"grpc_address": address}) as server:
                while httpx.get(f"http://{gateway.rest}/readyz", trust_env=False).status_code != 200:
                    time.sleep(0.1)  # it tries to connect every second
                assert identify(gateway.rest).status_code == 200
                assert server.stop().code == 0
        assert gateway.stop().code == 0
