"""What the Python applications share: files in the directory WEIR_APPS through which the tests and they tell each other things."""
import os
import socket
import struct

DIRECTORY = os.environ["WEIR_APPS"]
# What /down gives, without its length: thirty pieces.
PIECES = [bytes([ord("a") + n % 26]) * 10_000 for n in range(30)]
HALF = b"x" * 500_000
# How often it is looked for the test's file.
PAUSE_SECONDS = 0.01


def is_told(server, what):
    """Whether the test has made the file that this application waits for."""
    return os.path.exists(os.path.join(DIRECTORY, f"{server}-{what}"))


def first_time(server, what):
    """Whether this is the first time, in any process: whoever makes the file first has been."""
    try:
        os.close(os.open(os.path.join(DIRECTORY, f"{server}-{what}-once"), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def die_with_resets():
    """Ends the process such that all its TCP connections end with RST."""
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
            connection.getpeername()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    os._exit(1)
