"""The WSGI application: /SERVER/WHAT, described in tests/apps/README.md."""
import hashlib
import os
import signal
import time

import common


def wait_until_told(server, what):
    while not common.is_told(server, what):
        time.sleep(common.PAUSE_SECONDS)


def events(server):
    yield b"data: 1\n\n"
    wait_until_told(server, "sse")
    yield b"data: 2\n\n"


def breaks_off(server, what, end):
    yield common.HALF
    wait_until_told(server, what)
    end()


def fail():
    raise RuntimeError("on purpose, in the middle of an answer")


def sha256(environ):
    """Reads request content. PEP 3333 forbids reading beyond Content-Length; chunked content ends by itself."""
    digest, length = hashlib.sha256(), environ.get("CONTENT_LENGTH")
    left = int(length) if length else None
    while left != 0:
        piece = environ["wsgi.input"].read(65536 if left is None else min(left, 65536))
        if not piece:
            break
        digest.update(piece)
        left = None if left is None else left - len(piece)
    return digest.hexdigest()


# Servers that close after every response, or reject Connection from applications (PEP 3333 reserves it for the server).
NO_CONNECTION_FIELD = ("wsgiref", "waitress")


def application(environ, start_response):
    _, server, what = environ["PATH_INFO"].split("/")
    text = [("Content-Type", "text/plain")]
    close = [] if server in NO_CONNECTION_FIELD else [("Connection", "close")]

    def answer(content, status="200 OK", fields=()):
        start_response(status, [*text, ("Content-Length", str(len(content))), *fields])
        # For HEAD too, as most applications do: omitting content is the server's job.
        return [content]

    if what == "get":
        if environ.get("HTTP_IF_NONE_MATCH") == '"one"':
            start_response("304 Not Modified", [("ETag", '"one"')])
            return []
        return answer(f"hello from {server}\n".encode(), fields=[("ETag", '"one"')])
    if what == "204":
        start_response("204 No Content", [])
        return []
    if what == "204-content":
        start_response("204 No Content", [])
        return [b"no content"]
    if what == "early":
        return answer(b"early\n")
    if what == "refuse":
        return answer(b"too large\n", "413 Content Too Large", close)
    if what == "sum":
        return answer(sha256(environ).encode())
    if what == "down":
        start_response("200 OK", text)
        return iter(common.PIECES)
    if what == "sse":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events(server)
    if what == "close":
        return answer(b"closed\n", fields=close)
    if what == "cut":
        start_response("200 OK", [*text, ("Content-Length", str(2 * len(common.HALF)))])
        return breaks_off(server, what, fail)
    if what == "reset":
        start_response("200 OK", text)
        return breaks_off(server, what, common.die_with_resets)
    if what == "hang":
        wait_until_told(server, what)
        return answer(b"at last\n")
    if what == "crash":
        if common.first_time(server, what):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer(b"again\n")
    return answer(b"", "404 Not Found")
