"""The ASGI application: /SERVER/WHAT, described in tests/apps/README.md."""
import asyncio
import hashlib
import os
import signal

import common


async def wait_until_told(server, what):
    while not common.is_told(server, what):
        await asyncio.sleep(common.PAUSE_SECONDS)


async def content_of(receive):
    while True:
        event = await receive()
        yield event.get("body", b"")
        if not event.get("more_body"):
            return


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await send_lifespan(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        _, server, what = scope["path"].split("/")
        await Answer(server, what, dict(scope["headers"]), receive, send).give()


async def send_lifespan(receive, send):
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


class Answer:
    def __init__(self, server, what, fields, receive, send):
        self.server, self.what, self.fields, self.receive, self.send = server, what, fields, receive, send

    async def start(self, status, fields=()):
        fields = [(b"content-type", b"text/plain"), *fields]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})

    async def body(self, content, more=False):
        await self.send({"type": "http.response.body", "body": content, "more_body": more})

    async def whole(self, content, status=200, fields=()):
        await self.start(status, [(b"content-length", str(len(content)).encode()), *fields])
        await self.body(content)

    async def give(self):
        server, what = self.server, self.what
        if what == "get" and self.fields.get(b"if-none-match") == b'"one"':
            await self.start(304, [(b"etag", b'"one"')])
            await self.body(b"")
        elif what == "get":
            await self.whole(f"hello from {server}\n".encode(), fields=[(b"etag", b'"one"')])
        elif what == "204":
            await self.send({"type": "http.response.start", "status": 204, "headers": []})
            await self.body(b"")
        elif what == "early":
            await self.whole(b"early\n")
        elif what == "refuse":
            await self.whole(b"too large\n", 413, [(b"connection", b"close")])
        elif what == "sum":
            digest = hashlib.sha256()
            async for piece in content_of(self.receive):
                digest.update(piece)
            await self.whole(digest.hexdigest().encode())
        elif what == "down":
            await self.start(200)
            for piece in common.PIECES:
                await self.body(piece, more=True)
            await self.body(b"")
        elif what == "sse":
            await self.send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            await self.body(b"data: 1\n\n", more=True)
            await wait_until_told(server, what)
            await self.body(b"data: 2\n\n")
        elif what == "close":
            await self.whole(b"closed\n", fields=[(b"connection", b"close")])
        elif what == "cut":
            await self.start(200, [(b"content-length", str(2 * len(common.HALF)).encode())])
            await self.body(common.HALF, more=True)
            await wait_until_told(server, what)
            raise RuntimeError("on purpose, in the middle of an answer")
        elif what == "reset":
            await self.start(200)
            await self.body(common.HALF, more=True)
            await wait_until_told(server, what)
            common.die_with_resets()
        elif what == "hang":
            await wait_until_told(server, what)
            await self.whole(b"at last\n")
        elif what == "crash":
            if common.first_time(server, what):
                os.kill(os.getpid(), signal.SIGKILL)
            await self.whole(b"again\n")
        else:
            await self.whole(b"", 404)
