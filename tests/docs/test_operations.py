"""docs/operations.md: the commands, settings, times and messages that it tells are those of the code."""

import re
from typing import Final

import click

from aka.server import grpc_server
from aka.server.__main__ import main
from aka.server.config import SETTINGS
from aka.server.errors import PREFIX, server_stopping
from aka.v1 import alias_service_pb2 as v1
from tests.docs.pages import code, read, table

PAGE: Final = "docs/operations.md"


def test_the_command_table_is_the_command() -> None:
    assert isinstance(main, click.Group)
    assert {code(command)[0] for command, _ in table(PAGE, "## Commands")} == {
        f"aka {name}" for name in main.list_commands(click.Context(main))
    }


def test_the_settings_table_tells_every_setting() -> None:
    told = [
        (code(env), code(flag), code(default), expected) for env, flag, default, expected in table(PAGE, "## Settings")
    ]
    assert told == [
        ([setting.env], [*filter(None, [setting.flag])], [*filter(None, [setting.default])], setting.expected)
        for setting in SETTINGS
    ]


def test_the_times_of_a_stop_are_those_of_the_server() -> None:
    told = " ".join(row[0] for row in table(PAGE, "## Stopping"))
    times = [float(seconds) for seconds in re.findall(r"([\d.]+) s\b", told)]
    assert times == [grpc_server.QUIET, grpc_server.SERVING_ON, grpc_server.REFUSING]


def test_the_grace_is_the_settings_default() -> None:
    (grace,) = (setting.default for setting in SETTINGS if setting.env == "AKA_GRACE")
    assert f"`AKA_GRACE`, {grace} s from the end of the drain" in read(PAGE)


def test_the_refusal_of_a_stopping_server_is_told_as_it_is() -> None:
    refusal = server_stopping()
    assert f"`{refusal.name}`, *{refusal.message}*" in read(PAGE)


def test_every_setting_and_reason_that_it_names_exists() -> None:
    named = set(code(read(PAGE)))
    settings = {re.match(r"\w+", name)[0] for name in named if name.startswith("AKA_")}  # type: ignore[index]
    assert settings <= {setting.env for setting in SETTINGS}
    reasons = {name.removeprefix(PREFIX) for name in v1.ErrorReason.keys()}  # noqa: SIM118
    assert {row[0].strip("`") for row in table(PAGE, "## When something is wrong") if row[0].startswith("`")} <= reasons
