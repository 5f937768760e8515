"""wsgiref_server.py PORT: Python's built-in server, which has no command."""
import sys
from wsgiref.simple_server import make_server

from wsgi import application

make_server("127.0.0.1", int(sys.argv[1]), application).serve_forever()
