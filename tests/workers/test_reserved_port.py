"""A reserved port: sockets that share it may listen, and nobody else."""

import socket
from contextlib import closing

import pytest

from aka.server.addresses import CannotListen, reserved


def listen(address: str, *, shared: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)), reuse_port=shared)


def test_sockets_that_share_it_listen_on_it() -> None:
    with (
        reserved("127.0.0.1:0") as address,
        closing(listen(address, shared=True)),
        closing(listen(address, shared=True)),
    ):
        assert address != "127.0.0.1:0"


@pytest.mark.parametrize("listens", [True, False])
def test_one_that_does_not_share_it_is_refused_whether_or_not_another_listens(listens: bool) -> None:
    with reserved("127.0.0.1:0") as address:
        first = [listen(address, shared=True)] if listens else []
        with pytest.raises(OSError, match="in use"):
            listen(address, shared=False)
        for each in first:
            each.close()


def test_it_cannot_be_reserved_twice() -> None:
    with (
        reserved("127.0.0.1:0") as address,
        pytest.raises(CannotListen, match=f"cannot listen on {address}: Address already in use"),
        reserved(address),
    ):
        pass


def test_one_that_shared_sockets_of_others_listen_on_cannot_be_reserved() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), reuse_port=True)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(CannotListen, match=address), reserved(address):
            pass


def test_it_does_not_take_connections() -> None:
    with reserved("127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


@pytest.mark.parametrize("address", ["[::1]:0", "0.0.0.0:0"])
def test_its_host_is_written_as_it_was(address: str) -> None:
    with reserved(address) as found:
        assert found.rpartition(":")[0] == address.rpartition(":")[0]
