"""`aka keys` and `aka workspaces`."""

import functools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import click
from click.core import ParameterSource

from aka.admin.v1 import admin_service_pb2 as admin_v1
from aka.server import bootstrap
from aka.server.admin_calls import CallFailed, call_database, call_server
from aka.server.client_channel import ServerTls
from aka.server.command_options import end, key_option, sent_key, server_option, server_tls_options
from aka.server.keys import PERMISSIONS
from aka.server.page_tokens import MAX_PAGE
from aka.server.settings_options import named_database
from aka.server.tables import print_table

Ask = Callable[..., Any]
"""Makes one call of the admin service, by its name and with its request, and returns the answer."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.group()
def keys() -> None:
    """Create, list and revoke API keys, through a running server or straight on a database."""


@click.group()
def workspaces() -> None:
    """Create and list workspaces, through a running server or straight on a database."""


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that say whom to ask and how to print; the command gets `ask`, which ends with 1 where it fails."""

    @server_option()
    @key_option(checked=False)
    @click.option(
        "--database",
        metavar="URL",
        help="Ask no server and need no key: work on this database; a SQLite file must be no server's.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @server_tls_options(own=True)
    @functools.wraps(command)
    def asking(server: str, key: str, database: str | None, tls: ServerTls | None, **rest: Any) -> None:
        if database is None:
            key = sent_key(key, or_else=" (or --database, to work without one)")
        else:
            source = click.get_current_context().get_parameter_source
            if ParameterSource.COMMANDLINE in (source("server"), source("key")):
                end(2, "--database: no server is asked and no key is needed; leave out --server and --key")

        def ask(name: str, request: Any) -> Any:
            try:
                if database is not None:
                    return call_database(named_database(database), name, request)
                return call_server(server, key, tls, name, request)
            except CallFailed as error:
                end(1, str(error))

        # Who works on a database is in no workspace; its keys are in the first one unless another is named.
        if database is not None and rest.get("workspace") == "":
            rest["workspace"] = bootstrap.WORKSPACE
        command(ask=ask, **rest)

    return asking


@keys.command(name="create")
@click.option("--name", default="unnamed", show_default=True, help="What the key is for.")
@click.option(
    "--permission",
    "--permissions",
    "permissions",
    metavar="NAMES",
    multiple=True,
    default=("profiles.read,aliases.write",),
    show_default=True,
    help=f"What the key may do, of {', '.join(sorted(PERMISSIONS))}; by commas, or one a flag.",
)
@click.option("--expires-in", metavar="TIME", help="When the key expires: a number and s, m, h or d, such as 90d.")
@click.option("--workspace", default="", metavar="NAME", help="The workspace that it is for, instead of one's own.")
@_asking
def create_key(
    ask: Ask, name: str, permissions: Sequence[str], expires_in: str | None, workspace: str, as_json: bool
) -> None:
    """Create an API key. The secret is shown this once."""
    named = [permission.strip() for given in permissions for permission in given.split(",")]
    request = admin_v1.CreateKeyRequest(name=name, permissions=named, workspace=workspace)
    if expires_in is not None:
        request.expires_at.FromSeconds(int(time.time()) + _seconds(expires_in))
    _print_new(ask("CreateKey", request), as_json)


@keys.command(name="list")
@click.option("--workspace", default="", metavar="NAME", help="The workspace to list, instead of one's own.")
@_asking
def list_keys(ask: Ask, workspace: str, as_json: bool) -> None:
    """List a workspace's API keys, the revoked and expired ones too."""
    asked = admin_v1.ListKeysRequest(workspace=workspace, page_size=MAX_PAGE)
    _print([_key(key) for answer in _pages(ask, "ListKeys", asked) for key in answer.keys], as_json)


@keys.command(name="revoke")
@click.argument("key_id", metavar="ID")
@_asking
def revoke_key(ask: Ask, key_id: str, as_json: bool) -> None:
    """Revoke the API key with this id, for good."""
    shown = _key(ask("RevokeKey", admin_v1.RevokeKeyRequest(key_id=key_id)).key)
    click.echo(json.dumps(shown) if as_json else f"{shown['id']} is revoked")


@workspaces.command(name="create")
@click.argument("name")
@_asking
def create_workspace(ask: Ask, name: str, as_json: bool) -> None:
    """Create a workspace and its first API key. The key's secret is shown this once."""
    _print_new(ask("CreateWorkspace", admin_v1.CreateWorkspaceRequest(name=name)), as_json)


@workspaces.command(name="list")
@_asking
def list_workspaces(ask: Ask, as_json: bool) -> None:
    """List all workspaces."""
    asked = admin_v1.ListWorkspacesRequest(page_size=MAX_PAGE)
    found = [workspace for answer in _pages(ask, "ListWorkspaces", asked) for workspace in answer.workspaces]
    _print([{"name": workspace.name, "created_at": _time(workspace, "created_at")} for workspace in found], as_json)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        end(2, f"--expires-in: {text!r} is not a number and s, m, h or d, such as 90d")
    return int(match[1]) * _UNITS[match[2]]


def _pages(ask: Ask, name: str, request: Any) -> Iterator[Any]:
    while True:
        answer = ask(name, request)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _key(key: admin_v1.ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "workspace": key.workspace,
        "prefix": key.prefix,
        "permissions": list(key.permissions),
        "created_at": _time(key, "created_at"),
        "last_used_at": _time(key, "last_used_at"),
        "expires_at": _time(key, "expires_at"),
        "revoked_at": _time(key, "revoked_at"),
    }


def _time(message: Any, field: str) -> str | None:
    return getattr(message, field).ToJsonString() if message.HasField(field) else None


def _print_new(answer: admin_v1.CreateKeyResponse | admin_v1.CreateWorkspaceResponse, as_json: bool) -> None:
    key = answer.key
    shown = {
        "id": key.key_id,
        "secret": answer.secret,
        "workspace": key.workspace,
        "permissions": list(key.permissions),
    }
    if as_json:
        click.echo(json.dumps(shown))
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name:{width}}  {_cell(value)}")
    click.echo("The secret is not kept and not shown again.", err=True)


def _print(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print a table, or JSON."""
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("none", err=True)
        return
    heads = [name.removesuffix("_at").replace("_", " ").upper() for name in rows[0]]
    print_table(heads, [[_cell(value) for value in row.values()] for row in rows])


def _cell(value: str | Sequence[str] | None) -> str:
    if isinstance(value, str):
        return re.sub(r"\.\d+Z$", "Z", value) or "-"
    return ",".join(value) if value else "-"
