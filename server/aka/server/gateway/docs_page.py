"""The OpenAPI document as a page for people: one HTML file that needs no script and loads nothing."""

import base64
import hashlib
import json
import re
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any, Final

from aka.server.gateway.openapi import Document
from aka.server.gateway.schema import Schema

_STYLE: Final = Path(__file__).with_name("docs_page.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
}
"""Of the page: it may use its own style, and nothing else of anywhere."""

_CODE: Final = re.compile(r"`([^`]+)`")
_EMPHASIS: Final = re.compile(r"\*(\w[^*]*)\*")
_ADDRESS: Final = "http://127.0.0.1:8080"


def write(document: Document) -> bytes:
    """Return the page of a document."""
    info, components = document["info"], document["components"]
    by_tag = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((method.upper(), path, operation))
    tags = [(tag["name"], tag["description"], by_tag[tag["name"]]) for tag in document["tags"]]
    title = f"{info['title']} {info['version']}"
    page = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f'<nav><a href="#top"><b>{escape(title)}</b></a>{"".join(_menu(name, found) for name, _, found in tags)}',
        '<h2>More</h2><a href="#keys">Keys</a><a href="#headers">Headers</a><a href="#messages">Messages</a>',
        f'<a href="/openapi.json">openapi.json</a></nav><main id="top"><h1>{escape(title)}</h1>',
        _prose(info["description"]),
        *(_section(name, said, found, document) for name, said, found in tags),
        '<section id="keys"><h2>Keys</h2>',
        _table((_code(name), _inline(scheme["description"])) for name, scheme in components["securitySchemes"].items()),
        '</section><section id="headers"><h2>Headers</h2><h3>Of requests</h3>',
        _table((_code(name), _inline(said["description"])) for name, said in components["parameters"].items()),
        "<h3>Of answers</h3>",
        _table((_code(name), _inline(said["description"])) for name, said in components["headers"].items()),
        '</section><section id="messages"><h2>Messages</h2>',
        *(
            f'<h3 id="{escape(name)}">{escape(name)}</h3>{_schema(said)}'
            for name, said in sorted(components["schemas"].items())
        ),
        "</section></main></body></html>\n",
    ]
    return "".join(page).encode()


def _menu(tag: str, operations: list[Any]) -> str:
    links = (f'<a href="#{escape(told["operationId"])}">{escape(_short(path))}</a>' for _, path, told in operations)
    return f"<h2>{escape(tag)}</h2>{''.join(links)}"


def _short(path: str) -> str:
    """Return a path as the menu has it: of an RPC, its name alone."""
    return path.rpartition("/")[2] if "." in path and path.count("/") == 2 else path


def _section(tag: str, said: str, operations: list[Any], document: Document) -> str:
    shown = (_operation(method, path, told, document) for method, path, told in operations)
    return f"<section><h2>{escape(tag)}</h2>{_prose(said)}{''.join(shown)}</section>"


def _operation(method: str, path: str, operation: Document, document: Document) -> str:
    head = f'<h3 id="{escape(operation["operationId"])}"><b>{method}</b> {_code(path)}</h3>'
    parts = [head, _prose(operation["summary"]), _prose(operation.get("description", ""))]
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        parts.append(f"<h4>Request</h4>{_schema(_resolved(content['schema'], document))}")
        parts.append(_curl(path, json.dumps(content["example"])))
    parts.append("<h4>Answers</h4>")
    for status, response in operation["responses"].items():
        told = _resolved(response, document)
        schemas = (content["schema"] for content in told["content"].values() if "schema" in content)
        body = "".join(_schema(_resolved(schema, document)) for schema in schemas)
        parts.append(f"<details><summary><b>{status}</b> {_inline(told['description'])}</summary>{body}</details>")
    return f"<article>{''.join(parts)}</article>"


def _curl(path: str, sent: str) -> str:
    command = (
        f"curl -X POST {_ADDRESS}{path} \\\n  -H 'Authorization: Bearer YOUR_API_KEY'"
        f" -H 'Content-Type: application/json' \\\n  -d '{sent}'"
    )
    return f"<pre>{escape(command, quote=False)}</pre>"


def _resolved(component: Any, document: Document) -> Any:
    """Return what a reference refers to; what is none is itself."""
    if "$ref" not in component:
        return component
    kind, name = component["$ref"].removeprefix("#/components/").split("/")
    return document["components"][kind][name]


def _schema(schema: Schema) -> str:
    """Return what there is to say of a body or a message."""
    said = _prose(schema.get("description", ""))
    if "$ref" in schema:
        return f"{said}<p>{_type(schema)}</p>"
    if "properties" in schema:
        required = schema.get("required", ())
        rows = (
            (
                f"{_code(name)}{'' if name in required else ' <i>optional</i>'}",
                _type(inner),
                _prose(inner.get("description", "")) + (_schema(_item(inner)) if _has_fields(inner) else ""),
            )
            for name, inner in schema["properties"].items()
        )
        return said + _choice(schema) + _table(rows)
    if "anyOf" in schema:
        first, *others = schema["anyOf"]
        return said + _schema(first) + "".join(_alternative(other, first) for other in others)
    if _has_fields(schema):
        return f"{said}<p>{_type(schema)}:</p>{_schema(_item(schema))}"
    return said or f"<p>{_type(schema)}</p>"


def _choice(schema: Schema) -> str:
    """Return which fields exclude each other, of an object's schema."""
    options = schema.get("oneOf", ())
    names = [_code(name) for option in options for name in option.get("required", ())]
    how = "Exactly" if len(names) == len(options) else "At most"
    return f"<p>{how} one of {' and '.join(names)}.</p>" if names else ""


def _alternative(schema: Schema, first: Schema) -> str:
    if schema.get("items") == first:
        return f"<p>or an array of {_count(schema)}such</p>"
    return f"<p>or</p>{_schema(schema)}"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name.rpartition(".")[2])}</a>'
    if "const" in schema:
        return _code(json.dumps(schema["const"]))
    if "enum" in schema:
        return " ".join(_code(json.dumps(value)) for value in schema["enum"] if value is not None)
    if "anyOf" in schema and "type" not in schema:
        return " or ".join(_type(inner) for inner in schema["anyOf"] if inner.get("type") != "null")
    kinds = schema.get("type", "anything")
    names = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]
    if names == ["array"]:
        return f"array of {_count(schema)}{_type(schema['items'])}" if schema["items"] else "array"
    return escape(" or ".join(names)) + (f" ({escape(schema['format'])})" if "format" in schema else "")


def _count(schema: Schema) -> str:
    return f"{schema.get('minItems', 0)} to {schema['maxItems']} " if "maxItems" in schema else ""


def _has_fields(schema: Schema) -> bool:
    return "properties" in _item(schema)


def _item(schema: Schema) -> Schema:
    """Return the schema of an array's items; what is no array is its own."""
    item: Schema = schema.get("items", schema)
    return item


def _table(rows: Any) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{body}</table>" if body else "<p>Nothing.</p>"


def _prose(text: str) -> str:
    """Return paragraphs and lists, as the contract's comments have them."""
    shown = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines, *items = re.split(r"(?:^|\n)- ", paragraph)
        shown.append(f"<p>{_inline(lines)}</p>" if lines else "")
        shown.append(f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>" if items else "")
    return "".join(shown)


def _inline(text: str) -> str:
    return _EMPHASIS.sub(r"<i>\1</i>", _CODE.sub(r"<code>\1</code>", escape(text, quote=False)))


def _code(text: str) -> str:
    return f"<code>{escape(text, quote=False)}</code>"
