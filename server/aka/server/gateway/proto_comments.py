"""The comments of a proto file, which the generated stubs lack."""

import re

_COMMENT = re.compile(r"// ?(.*)")
_PACKAGE = re.compile(r"package ([\w.]+);")
_OPENS = re.compile(r"(?:service|message|enum|oneof) (\w+) \{")
_MEMBER = re.compile(r"rpc (\w+)\(|(?:[\w.]+ )*(\w+) = \d+\b")


def comments(proto: str) -> dict[str, str]:
    """Return the comment of each element, by its full name; an enum's values are named within it.

    `proto` is formatted as buf does: a line an element. The members of a oneof are the message's own.
    """
    found: dict[str, str] = {}
    package = ""
    scopes: list[str] = []
    said: list[str] = []
    for line in map(str.strip, proto.splitlines()):
        if comment := _COMMENT.match(line):
            said.append(comment[1])
            continue
        if named := _PACKAGE.match(line):
            package = named[1]
        opens, member = _OPENS.match(line), _MEMBER.match(line)
        name = opens[1] if opens else member and (member[1] or member[2])
        if name:
            around = [scope for scope in scopes if scope[0].isupper()]
            found[".".join([package, *around, name])] = "\n".join(said)
        if opens:
            scopes.append(opens[1])
        elif line == "}":
            scopes.pop()
        said = []
    return found
