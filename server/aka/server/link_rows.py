"""Links as lines of text: CSV with a header, or NDJSON."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from aka.v1 import alias_service_pb2 as v1

Format = Literal["csv", "ndjson"]
Read = Callable[[str], v1.Link]
"""Reads a line without its end; BadRow where it is no link."""

COLUMNS: Final = ("profile_id", "user_id", "alias_id", "anonymous_id", "alias_label", "alias_name", "linked_at")
"""Of a CSV file, and the keys of an NDJSON object. An import does not read the last."""


class BadRow(Exception):
    """A line that is no link; the message says why."""


class BadHeader(Exception):
    """A CSV file's first line that does not name its columns; the message says why."""


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    """A line's values. Null, and the empty string, are as if it was not there."""

    profile_id: str | None = None
    user_id: str | None = None
    alias_id: str | None = None
    anonymous_id: str | None = None
    alias_label: str | None = None
    alias_name: str | None = None
    linked_at: str | None = None


_decode_row: Final = msgspec.json.Decoder(_Row).decode


def reader(form: Format, header: str | None) -> Read:
    """Return what reads the lines of a file; a CSV file's `header` is its first line. BadHeader where it is none."""
    if form == "ndjson":
        return _read_ndjson
    columns = _columns(header)

    def read(line: str) -> v1.Link:
        fields = _fields(line)
        if len(fields) != len(columns):
            raise BadRow(f"has {len(fields)} fields; the header has {len(columns)}")
        return _link(_Row(**dict(zip(columns, fields, strict=True))))

    return read


def header(form: Format) -> str:
    """Return the lines that a file begins with."""
    return ",".join(COLUMNS) + "\n" if form == "csv" else ""


def write(form: Format, links: Sequence[v1.Link]) -> str:
    """Return links as lines of a file."""
    rows = [
        (
            link.profile_id,
            link.user_id,
            link.alias_id,
            link.anonymous_id,
            link.user_alias.alias_label,
            link.user_alias.alias_name,
            link.linked_at.ToJsonString(),
        )
        for link in links
    ]
    if form == "csv":
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(rows)
        return lines.getvalue()
    encode = msgspec.json.encode
    told = ({name: value for name, value in zip(COLUMNS, row, strict=True) if value} for row in rows)
    return b"".join(encode(each) + b"\n" for each in told).decode()


def _columns(header: str | None) -> list[str]:
    if header is None:
        raise BadHeader("is empty; a CSV file begins with a line that names its columns")
    try:
        columns = [name.strip() for name in _fields(header)]
    except BadRow as error:
        raise BadHeader(f"begins with a line that {error}") from None
    if strange := [name for name in columns if name not in COLUMNS]:
        raise BadHeader(f"has a column {strange[0]!r} in its first line; its columns may be {', '.join(COLUMNS)}")
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise BadHeader(f"has the column {twice[0]!r} twice in its first line")
    return columns


def _fields(line: str) -> Sequence[str]:
    if '"' not in line:
        return line.split(",")
    try:
        (fields,) = csv.reader([line], strict=True)
    except (csv.Error, ValueError) as error:
        raise BadRow(f"is no CSV: {error}") from None
    return fields


def _read_ndjson(line: str) -> v1.Link:
    try:
        row = _decode_row(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRow(f"is no JSON object of a link: {error}") from None
    return _link(row)


def _link(row: _Row) -> v1.Link:
    has_pair = bool(row.alias_label or row.alias_name)
    if bool(row.alias_id) + bool(row.anonymous_id) + has_pair > 1:
        raise BadRow("has more than one of alias_id, anonymous_id and alias_label with alias_name; make it two lines")
    link = v1.Link()
    try:
        if row.profile_id:
            link.profile_id = row.profile_id
        if row.user_id:
            link.user_id = row.user_id
        if row.alias_id:
            link.alias_id = row.alias_id
        if row.anonymous_id:
            link.anonymous_id = row.anonymous_id
        if has_pair:
            link.user_alias.alias_label = row.alias_label or ""
            link.user_alias.alias_name = row.alias_name or ""
    except UnicodeError:
        raise BadRow("has a lone surrogate, which UTF-8 cannot write") from None
    return link
