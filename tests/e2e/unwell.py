"""A worker that is sometimes unhealthy: unwell.py PORT

GET /pid           its process number
GET /whole/N       N bytes, and their end is the end of the connection
GET /reset/N       half of N bytes in the same way, then a reset
GET /killed/N      half of N bytes in the same way, then the end of this process
GET /kill          the end of this process, without an answer

Whatever is before the last such path is ignored.
"""
import os
import signal
import socket
import struct
import sys

# Writes no bytecode to the checkout.
sys.dont_write_bytecode = True
import serving


class Handler(serving.Handler):
    def send_unframed(self, length):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"x" * length)
        self.wfile.flush()
        self.close_connection = True

    def wait_until_sent(self):
        """Waits until the peer has received everything, so that nothing that follows can overtake it."""
        while struct.unpack("i", self.ioctl_outq())[0] > 0:
            pass

    def ioctl_outq(self):
        import fcntl
        import termios

        return fcntl.ioctl(self.connection, termios.TIOCOUTQ, b"\0\0\0\0")

    def do_GET(self):
        what, _, number = self.path.rpartition("/")
        what = what.rpartition("/")[2]
        if what == "whole":
            self.send_unframed(int(number))
        elif what in ("reset", "killed"):
            self.send_unframed(int(number) // 2)
            self.wait_until_sent()
            if what == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        elif number == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            self.answer(str(os.getpid()).encode())


serving.Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
