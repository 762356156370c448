"""Answers over HTTP that are whole are sent as one: uvicorn sends head and body apart, and looks at each header."""

from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


def send_to(cycle: RequestResponseCycle) -> Send:
    """Return what sends the messages of an answer to a request: at once where they are two, else as uvicorn does."""
    head: Message | None = None

    async def send(message: Message) -> None:
        nonlocal head
        if message["type"] == "http.response.start":
            head = message
            return
        if head is not None:
            begin, head = head, None
            if _send_whole(cycle, begin, message):
                return
            await cycle.send(begin)  # type: ignore[arg-type]
        await cycle.send(message)  # type: ignore[arg-type]

    return send


def _send_whole(cycle: RequestResponseCycle, head: Message, content: Message) -> bool:
    """Send an answer and end it as uvicorn would. False, and nothing is done, where there is more to it than that."""
    if content.get("more_body") or not cycle.keep_alive or cycle.disconnected or cycle.flow.write_paused:
        return False
    body = content["body"]
    headers: list[tuple[bytes, bytes]] = [*cycle.default_headers, *head["headers"]]
    named = dict(headers)
    if cycle.scope["method"] == "HEAD" or b"connection" in named or named.get(b"content-length") != b"%d" % len(body):
        return False
    lines = [b"%b: %b\r\n" % header for header in headers]
    begin = b"".join([STATUS_LINE[head["status"]], *lines, b"\r\n"])
    if not begin.count(b"\r") == begin.count(b"\n") == len(lines) + 2:  # a header has one, which uvicorn refuses
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(begin + body)
    cycle.message_event.set()
    cycle.on_response()
    return True
