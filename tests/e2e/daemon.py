#!/usr/bin/env python3
"""A vsock daemon that gives up when the file WEIR_TEST_GIVE_UP is there: the one in WEIR_TEST_DAEMON, with our arguments, does the work; a thread
of ours has the name of its event loop."""
import os
import subprocess
import sys
import threading
import time


def event_loop():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:
        name.write("vring_worker")
    while not os.path.exists(os.environ["WEIR_TEST_GIVE_UP"]):
        time.sleep(0.01)


threading.Thread(target=event_loop).start()
sys.exit(subprocess.call([os.environ["WEIR_TEST_DAEMON"], *sys.argv[1:]]))
