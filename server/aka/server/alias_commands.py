"""`aka alias`, `create-alias`, `identify`, `resolve`, `profile` and `unlink`: for people who look into something."""

import functools
import re
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from itertools import islice
from typing import Any, Final

import click

from aka.client import (
    AkaError,
    Change,
    Client,
    Identifier,
    InvalidArgumentError,
    LinkedIdentifier,
    MergeBehavior,
    MergePolicy,
    Profile,
    ProfileId,
    Resolution,
    UserAlias,
)
from aka.server.client_channel import ServerTls, client_channel
from aka.server.command_items import ABOUT_THE_ITEM, EPILOG, NOBODYS, WRONG_USE, Row, Rows, cell, read_items, run_each
from aka.server.command_options import end, key_option, server_option, server_tls_options
from aka.server.tables import print_table

MOST_RESOLVED: Final = 1000
"""Identifiers that are asked for at once."""


def _calling(name: str) -> Callable[[Callable[..., int]], click.Command]:
    """Make a command of a function that gets a `client` and `as_json`, and returns the exit code."""

    def make(command: Callable[..., int]) -> click.Command:
        @click.command(name=name, epilog=EPILOG)
        @server_option()
        @key_option()
        @click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
        @server_tls_options(own=True)
        @functools.wraps(command)
        def calling(server: str, key: str, tls: ServerTls | None, **rest: Any) -> None:
            # No repeats: who looks into something wants to see what is.
            with client_channel(server, tls) as channel, Client(channel=channel, api_key=key) as client:
                if isinstance(sys.stdout, TextIOWrapper):  # or what it has no letters for would end a command half-way
                    sys.stdout.reconfigure(errors="backslashreplace")
                try:
                    sys.exit(command(client, **rest))
                except UnicodeError:
                    end(WRONG_USE, "an identifier is not UTF-8")
                except BrokenPipeError:
                    raise  # click ends quietly
                except OSError as error:
                    end(1, f"stdin cannot be read, or stdout not be written: {error.strerror}")

        return calling

    return make


def _dry_run_option() -> Callable[[Callable[..., int]], Callable[..., int]]:
    return click.option("--dry-run", is_flag=True, help="Show what would come of it, and change nothing.")


def _kind_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the flags that say which kind of identifiers the arguments are."""
    label = click.option("--label", metavar="LABEL", help="They are the names of user aliases with this label.")
    profile_ids = click.option("--profile-id", "profile_ids", is_flag=True, help="They are profile ids.")
    return label(profile_ids(command))


@_calling("alias")
@click.argument("given", nargs=-1, metavar="[USER ALIAS]")
@click.option("--profile-id", "profile_ids", is_flag=True, help="USER is a profile id.")
@click.option(
    "--merge-policy",
    type=click.Choice([policy.lower() for policy in MergePolicy]),
    help="Which profiles may be joined where ALIAS is on another one.  [default: anonymous]",
)
@click.option("--create-missing", is_flag=True, help="Make USER where it is not known.")
@_dry_run_option()
def alias(
    client: Client,
    given: Sequence[str],
    profile_ids: bool,
    merge_policy: str | None,
    create_missing: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Link ALIAS to the profile of USER, or join two profiles.

    Without arguments, for each line of stdin: USER, a tab, ALIAS.
    """
    policy = None if merge_policy is None else MergePolicy(merge_policy.upper())

    def link(user: str, alias: str) -> Change:
        user_id = ProfileId(user) if profile_ids else user
        return client.alias(user_id, alias, merge_policy=policy, create_missing=create_missing, validate_only=dry_run)

    return _change_each(("user", "alias"), given, link, as_json)


@_calling("create-alias")
@click.argument("given", nargs=-1, metavar="[LABEL NAME]")
@click.option("--anonymous", is_flag=True, help="In place of LABEL NAME there is one anonymous id.")
@click.option("--user", metavar="ID", help="Any id of the profile to give it to, instead of a new anonymous one.")
@_dry_run_option()
def create_alias(
    client: Client, given: Sequence[str], anonymous: bool, user: str | None, dry_run: bool, as_json: bool
) -> int:
    """Give a user alias, LABEL and NAME, to a new anonymous profile or to a known one.

    Without arguments, for each line of stdin: LABEL, a tab, NAME.
    """

    def create(*words: str) -> Change:
        if anonymous:
            return client.create_alias(anonymous_id=words[0], external_id=user, validate_only=dry_run)
        return client.create_alias(UserAlias(*words), external_id=user, validate_only=dry_run)

    return _change_each(("anonymous_id",) if anonymous else ("label", "name"), given, create, as_json)


@_calling("identify")
@click.argument("given", nargs=-1, metavar="[USER]")
@click.option("--anonymous-id", metavar="ID", help="An anonymous id that becomes the user's.")
@click.option("--user-alias", nargs=2, metavar="LABEL NAME", help="A user alias that becomes the user's.")
@click.option(
    "--merge-behavior",
    type=click.Choice([behavior.lower() for behavior in MergeBehavior]),
    help="What follows where a user alias's profile is joined to another.  [default: none]",
)
@_dry_run_option()
def identify(
    client: Client,
    given: Sequence[str],
    anonymous_id: str | None,
    user_alias: tuple[str, str] | None,
    merge_behavior: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make a person known by the id USER, and what they did before theirs.

    Without arguments, for each line of stdin: USER.
    """
    if anonymous_id is not None and user_alias is not None:
        end(WRONG_USE, "--anonymous-id, --user-alias: one or the other")
    pair = None if user_alias is None else UserAlias(*user_alias)
    behavior = None if merge_behavior is None else MergeBehavior(merge_behavior.upper())

    def make_known(user: str) -> Change:
        return client.identify(user, pair, anonymous_id=anonymous_id, merge_behavior=behavior, validate_only=dry_run)

    return _change_each(("user",), given, make_known, as_json)


@_calling("unlink")
@click.argument("given", nargs=-1, metavar="[ID]...")
@click.option("--label", metavar="LABEL", help="They are the names of user aliases with this label.")
@click.option("--on", metavar="PROFILE_ID", help="The profile that they must be on.")
@click.option("--allow-missing", is_flag=True, help="One that is nobody's is no failure.")
@_dry_run_option()
def unlink(
    client: Client,
    given: Sequence[str],
    label: str | None,
    on: str | None,
    allow_missing: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Unlink each ID, which is free again afterwards.

    Without arguments, for each line of stdin: ID.
    """
    if on == "":  # a variable of a script that is not set
        end(WRONG_USE, "--on: it is empty; a profile id is expected")

    def delete(name: str) -> Row:
        alias = name if label is None else UserAlias(label, name)
        unlinked = client.delete_alias(alias, profile_id=on, allow_missing=allow_missing, validate_only=dry_run)
        return {"id": name, "profile_id": unlinked.profile_id}

    return run_each(("id",), read_items(given, 1, each=True), delete, as_json)


@_calling("resolve")
@click.argument("given", nargs=-1, metavar="[ID]...")
@_kind_options
def resolve(client: Client, given: Sequence[str], label: str | None, profile_ids: bool, as_json: bool) -> int:
    """Say whose each ID is.

    Without arguments, for each line of stdin: ID. With --json any number of them, as they come.
    """
    read = _identifier(label, profile_ids)
    asked = (words[0] for words in read_items(given, 1, each=True))
    with Rows(("id",), as_json) as rows:
        try:
            while batch := list(islice(asked, MOST_RESOLVED)):
                _resolve(client, batch, read, rows)
        except AkaError as error:
            rows.fail((), error)
    return rows.code


@_calling("profile")
@click.argument("given", nargs=-1, metavar="[ID]...")
@_kind_options
def profile(client: Client, given: Sequence[str], label: str | None, profile_ids: bool, as_json: bool) -> int:
    """Show the profile of each ID, with all its identifiers.

    Without arguments, for each line of stdin: ID.
    """
    read = _identifier(label, profile_ids)
    show: Callable[[Profile], None] = (lambda found: rows.add(_profile(found))) if as_json else _show
    with Rows(("id",), as_json) as rows:
        for words in read_items(given, 1, each=True):
            try:
                show(client.get_profile(read(*words)))
            except AkaError as error:
                if rows.fail(words, error) not in ABOUT_THE_ITEM:
                    break
    return rows.code


COMMANDS: Final = (alias, create_alias, identify, resolve, profile, unlink)


def _change_each(names: Sequence[str], given: Sequence[str], call: Callable[..., Change], as_json: bool) -> int:
    """Make a change for each item and show what it did."""

    def row(*words: str) -> Row:
        change = call(*words)
        return {
            **dict(zip(names, words, strict=True)),
            "outcome": str(change.outcome),
            "profile_id": change.profile_id,
            "user_id": change.user_id,
            "merged_profile_id": change.merged_profile_id,
        }

    return run_each(names, read_items(given, len(names)), row, as_json)


def _identifier(label: str | None, profile_ids: bool) -> Callable[[str], Identifier]:
    """Return how an argument is read."""
    if label is not None and profile_ids:
        end(WRONG_USE, "--label, --profile-id: one or the other")
    if label is not None:
        return functools.partial(UserAlias, label)
    if profile_ids:
        return ProfileId
    return str


def _resolve(client: Client, names: Sequence[str], read: Callable[[str], Identifier], rows: Rows) -> None:
    """Resolve at most `MOST_RESOLVED` names; those beside one that is refused are asked for without it."""
    while names:
        refused, error = len(names), None
        try:
            found = list(client.resolve_many(map(read, names)))
        except InvalidArgumentError as invalid:
            place = re.match(r"identifiers\[(\d+)\]", invalid.field or "")
            if place is None:
                raise
            refused, error = int(place[1]), invalid
            found = list(client.resolve_many(map(read, names[:refused])))
        for resolution in found:
            rows.add(_resolved(resolution))
            if not resolution.found:
                rows.code = rows.code or NOBODYS
        if error is not None:
            rows.fail((names[refused],), error)
        names = names[refused + 1 :]


def _resolved(resolution: Resolution) -> Row:
    return {
        "id": _text(resolution.identifier),
        "found": resolution.found,
        "profile_id": resolution.profile_id,
        "user_id": resolution.user_id,
        "redirected_from": resolution.redirected_from,
    }


def _profile(profile: Profile) -> Row:
    return {
        "profile_id": profile.profile_id,
        "user_id": profile.user_id,
        "redirected_from": profile.redirected_from,
        "created_at": profile.created_at.isoformat(),
        "updated_at": profile.updated_at.isoformat(),
        "merged_profile_ids": profile.merged_profile_ids,
        "merged_profile_count": profile.merged_profile_count,
        "identifiers": [_linked(linked) for linked in profile.identifiers],
    }


def _linked(linked: LinkedIdentifier) -> dict[str, str]:
    pair = linked.identifier
    named = {"label": pair.label, "name": pair.name} if isinstance(pair, UserAlias) else {"id": pair}
    return {**named, "kind": str(linked.kind), "linked_at": linked.linked_at.isoformat()}


def _show(profile: Profile) -> None:
    """Print a profile for a reader."""
    for name, value in _profile(profile).items():
        if name != "identifiers":
            click.echo(f"{name.replace('_', ' '):20}  {cell(value)}")
    click.echo()
    rows = [
        [_text(one.identifier), str(one.kind), f"{one.linked_at:%Y-%m-%dT%H:%M:%SZ}"] for one in profile.identifiers
    ]
    print_table(["IDENTIFIER", "KIND", "LINKED"], rows)


def _text(identifier: Identifier) -> str:
    return f"{identifier.label}={identifier.name}" if isinstance(identifier, UserAlias) else identifier
