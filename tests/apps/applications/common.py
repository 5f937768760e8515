"""Shared by the Python applications: files in the directory WEIR_APPS are signals between them and the tests."""
import os
import socket
import struct

DIRECTORY = os.environ["WEIR_APPS"]
# Content of /down, sent without its length in thirty pieces.
PIECES = [bytes([ord("a") + n % 26]) * 10_000 for n in range(30)]
HALF = b"x" * 500_000
# Polling interval for the test's file.
PAUSE_SECONDS = 0.01


def is_told(server, what):
    """Whether the test has created the file that this application waits for."""
    return os.path.exists(os.path.join(DIRECTORY, f"{server}-{what}"))


def first_time(server, what):
    """Whether this is the first call in any process: the first one creates the file."""
    try:
        os.close(os.open(os.path.join(DIRECTORY, f"{server}-{what}-once"), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def die_with_resets():
    """Ends the process so that all its TCP connections end with RST."""
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
            connection.getpeername()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    os._exit(1)
