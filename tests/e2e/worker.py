"""A worker as an ordinary process: worker.py PORT PATTERN LOG [CHAIN KEY CA]

With files in PEM it speaks TLS 1.3 and wants a certificate by CA.

GET /api/bytes/N   the first N bytes of the file PATTERN
POST /api/mark/M   appends M to the file LOG, answers with it
GET /api/pid       the process number
GET /api/held/N    the first N bytes, when the file LOG-held is there

and what no worker should do:

GET /api/half/N    half of N bytes, then the end of the connection
GET /api/once/N    the same, but only the first time that somebody asks
HEAD or GET /api/evil/KIND
                   more than an answer, from 50 ms later on: what is too much looks like an answer to somebody else
POST /api/deaf     the content is not read, and nothing is answered
"""
import os
import ssl
import sys
import time

# Writes no bytecode to the checkout.
sys.dont_write_bytecode = True
import serving

PORT, PATTERN, LOG = int(sys.argv[1]), open(sys.argv[2], "rb").read(), sys.argv[3]


def first_time(path):
    """Whether this is the first call of any worker with this LOG: the first one creates the file."""
    try:
        os.close(os.open(LOG + path.replace("/", "-"), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
# What comes before it, and whether it comes at once.
SURPLUS = {
    "head": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EVIL), False),
    "head-unframed": (b"HTTP/1.1 200 OK\r\n\r\n", False),
    "no-content": (b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(EVIL), False),
    "not-modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n", True),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", True),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
}


class Handler(serving.Handler):
    def half(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(PATTERN[: length // 2])
        self.close_connection = True

    def evil(self, kind):
        answer, at_once = SURPLUS[kind]
        time.sleep(0.05)
        if at_once:
            return self.wfile.write(answer + EVIL)
        self.wfile.write(answer)
        time.sleep(0.01)
        self.wfile.write(EVIL)

    def do_HEAD(self):
        self.evil(self.path.rsplit("/", 1)[1])

    def do_GET(self):
        what, last = self.path.split("/")[2], self.path.rsplit("/", 1)[1]
        if what == "pid":
            return self.answer(str(os.getpid()).encode())
        if what == "evil":
            return self.evil(last)
        while what == "held" and not os.path.exists(LOG + "-held"):
            time.sleep(0.01)
        if what == "half" or (what == "once" and first_time(self.path)):
            return self.half(int(last))
        self.answer(PATTERN[: int(last)])

    def do_POST(self):
        if self.path == "/api/deaf":
            time.sleep(3600)
        mark = self.path.rsplit("/", 1)[1]
        self.rfile.read(int(self.headers["Content-Length"]))
        log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, (mark + "\n").encode())
        os.close(log)
        self.answer(mark.encode())


server = serving.Server(("127.0.0.1", PORT), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    context.load_verify_locations(sys.argv[6])
    # In the thread of the connection, at its first read.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
