"""A worker as an ordinary process: worker.py PORT PATTERN LOG

GET /api/bytes/N   the first N bytes of the file PATTERN
POST /api/mark/M   appends M to the file LOG, answers with it
GET /api/pid       the process number
"""
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, PATTERN, LOG = int(sys.argv[1]), open(sys.argv[2], "rb").read(), sys.argv[3]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        if self.path == "/api/pid":
            return self.answer(str(os.getpid()).encode())
        self.answer(PATTERN[: int(self.path.rsplit("/", 1)[1])])

    def do_POST(self):
        mark = self.path.rsplit("/", 1)[1]
        self.rfile.read(int(self.headers["Content-Length"]))
        log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, (mark + "\n").encode())
        os.close(log)
        self.answer(mark.encode())

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Handler).serve_forever()
