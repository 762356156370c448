"""`aka import` and `aka export`."""

import contextlib
import functools
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import grpc

from aka.server import link_export, link_import
from aka.server.client_channel import ServerTls, client_channel
from aka.server.command_options import end, key_option, server_option, server_tls_options
from aka.server.link_calls import GaveUp, LinkCalls
from aka.server.link_files import STANDARD, Busy, Changed, Sink, Source, StandardOutput, format_of, write_state
from aka.server.link_rows import BadHeader, Format
from aka.server.progress import shown_progress
from aka.v1 import alias_service_pb2 as v1

REJECTED: Final = 4
_CODES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 2,
    grpc.StatusCode.UNAUTHENTICATED: 5,
    grpc.StatusCode.PERMISSION_DENIED: 5,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 6,
    grpc.StatusCode.UNAVAILABLE: 7,
    grpc.StatusCode.DEADLINE_EXCEEDED: 7,
}
"""The exit code of a call that failed, where it is not 1."""

_POLICIES: Final = {
    "never": v1.MERGE_POLICY_NEVER,
    "anonymous": v1.MERGE_POLICY_ANONYMOUS,
    "always": v1.MERGE_POLICY_ALWAYS,
}


def _transferring(command: Callable[..., None]) -> Callable[..., None]:
    """Add what both commands have; each gets `calls: LinkCalls`, `server` and `form: Format`."""

    @click.argument("file")
    @click.option(
        "--format", "given", type=click.Choice(["csv", "ndjson"]), help="The format, where FILE's name does not tell."
    )
    @click.option("--resume", is_flag=True, help="Go on where an earlier one was broken off, if it was.")
    @click.option("--state", metavar="FILE", help="Where to note how far it is, instead of beside FILE.")
    @click.option(
        "--patience",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=90.0,  # longer than a rate limit of a minute can make one wait
        show_default=True,
        help="How long to repeat calls while the server is away or too busy.",
    )
    @click.option("--quiet", is_flag=True, help="Show no progress.")
    @server_option()
    @key_option()
    @server_tls_options(own=True)
    @functools.wraps(command)
    def transferring(
        file: str, given: Format | None, server: str, key: str, tls: ServerTls | None, patience: float, **rest: Any
    ) -> None:
        form = given or format_of(file)
        if form is None:
            end(2, f"--format: the name of {file} does not tell whether it is csv or ndjson")
        if file == STANDARD and (rest["resume"] or rest["state"]):
            end(2, "--resume, --state: only a file can be gone on with")
        with client_channel(server, tls) as channel:
            calls = LinkCalls(channel, key, patience)
            try:
                command(file=file, form=form, server=server, calls=calls, **rest)
            except (OSError, EOFError, zlib.error) as error:
                end(1, f"{getattr(error, 'filename', None) or file}: {getattr(error, 'strerror', None) or error}")

    return transferring


@click.command(name="import")
@_transferring
@click.option(
    "--merge-policy",
    type=click.Choice([*_POLICIES]),
    default="anonymous",
    show_default=True,
    help="Which profiles to join where an alias is on another profile.",
)
@click.option("--rejects", metavar="FILE", help="Where lines go that are not imported, instead of beside FILE.")
@click.option("--dry-run", is_flag=True, help="Show what would come of it, and change nothing.")
def import_links(
    file: str,
    form: Format,
    server: str,
    calls: LinkCalls,
    resume: bool,
    state: str | None,
    quiet: bool,
    merge_policy: str,
    rejects: str | None,
    dry_run: bool,
) -> None:
    """Import the links of FILE, CSV or NDJSON; - is stdin, and a name with .gz is unpacked.

    A line that is no link, or is refused, goes with its number and the reason into FILE.rejects.ndjson. How far it is
    stands in FILE.import-state until it is done; --resume goes on from there. A dry run's are in
    FILE.dry-run.rejects.ndjson.

    Exits with 0 when all was imported, 4 when lines were rejected, 5 where the key is not good enough, 6 where the
    server is too busy, 7 where it does not answer, 2 for what cannot be, else 1.
    """
    if dry_run and (resume or state):
        end(2, "--dry-run, --resume, --state: a dry run has no state")
    state_file = None if file == STANDARD or dry_run else Path(state or f"{file}.import-state")
    beside = ("import" if file == STANDARD else file) + (".dry-run" if dry_run else "")
    rejects_file = Path(rejects or f"{beside}.rejects.ndjson")
    if rejects_file.exists() and not rejects_file.is_file():
        end(2, f"--rejects: {rejects_file} is no file")
    began = time.monotonic()
    with contextlib.closing(Source(file)) as source, _explained("import", file, state_file):
        if state_file is not None:
            source.hold()
        so_far = link_import.State(server, form)
        if resume and state_file is not None:
            so_far = link_import.resume(source, so_far, state_file)
        rows_before = so_far.rows
        with (
            contextlib.closing(link_import.Rejects(rejects_file, so_far.rejects_size)) as rejected,
            shown_progress(quiet=quiet) as show,
        ):

            def note(state: link_import.State) -> None:
                if state_file is not None:
                    write_state(state_file, state)
                show(state.rows, source.position / source.size if source.size else None)

            begin = functools.partial(calls.begin_import, merge_policy=_POLICIES[merge_policy], validate_only=dry_run)
            link_import.import_file(source, so_far, rejected, begin, note)
    if state_file is not None:
        state_file.unlink(missing_ok=True)
    outcomes = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in so_far.outcomes.items())
    done = "would be imported" if dry_run else "imported"
    links = f"{so_far.rows - so_far.rejected:,} links {done}"
    click.echo(f"{links}{_in(so_far.rows - rows_before, began)}: {outcomes}", err=True)
    if so_far.rejected:
        end(REJECTED, f"{so_far.rejected:,} lines were rejected; see {rejects_file}")


@click.command(name="export")
@_transferring
@click.option("--replace", is_flag=True, help="Replace a file that is there already.")
def export_links(
    file: str,
    form: Format,
    server: str,
    calls: LinkCalls,
    resume: bool,
    state: str | None,
    quiet: bool,
    replace: bool,
) -> None:
    """Export all links of the key's workspace into FILE, CSV or NDJSON; - is stdout, and a name with .gz is packed.

    FILE is there when it is whole. Until then there are FILE.part and FILE.export-state; --resume goes on from there.
    The key needs the permission profiles.export.

    Exits with 0 when all was exported, 5 where the key is not good enough, 6 where the server is too busy, 7 where it
    does not answer, 2 for what cannot be, else 1.
    """
    if file != STANDARD and Path(file).exists() and not Path(file).is_file():
        end(2, f"{file} is no file; - is stdout")
    if file != STANDARD and Path(file).exists() and not replace:
        end(1, f"{file} is there already; --replace replaces it")
    state_file = None if file == STANDARD else Path(state or f"{file}.export-state")
    part = Path(f"{file}.part")
    began = time.monotonic()
    with _explained("export", file, state_file), shown_progress(quiet=quiet) as show:
        so_far = link_export.State(server, form)
        if resume and state_file is not None:
            so_far = link_export.resume(so_far, state_file)
        links_before = so_far.links

        def note(state: link_export.State) -> None:
            if state_file is not None:
                write_state(state_file, state)
            show(state.links, None)

        output = StandardOutput() if file == STANDARD else Sink(part, so_far.size, packed=file.endswith(".gz"))
        with contextlib.closing(output):
            link_export.export_file(output, so_far, calls.export(so_far.token), note)
            if state_file is not None:
                part.replace(file)
                state_file.unlink(missing_ok=True)
    click.echo(f"{so_far.links:,} links exported{_in(so_far.links - links_before, began)}", err=True)


@contextlib.contextmanager
def _explained(what: str, file: str, state_file: Path | None) -> Iterator[None]:
    """End with what was wrong, and what to do."""
    go_on = "" if state_file is None or file == STANDARD else f"; `aka {what} --resume` goes on with it"
    try:
        yield
    except BadHeader as error:
        end(2, f"{file} {error}")
    except Changed:
        end(2, f"--resume: {state_file} tells of another {what} than this one; leave out --resume to begin anew")
    except Busy:
        end(1, f"{file}: another {what} of it is under way")
    except GaveUp as error:
        # What is malformed, such as another workspace's token, is so again.
        end(_CODES.get(error.code, 1), str(error) + go_on * (error.code != grpc.StatusCode.INVALID_ARGUMENT))
    except KeyboardInterrupt:
        end(130, f"stopped{go_on}")


def _in(links: int, began: float) -> str:
    seconds = time.monotonic() - began
    return f" in {seconds:.1f} s ({links / seconds:,.0f}/s)"
