"""Ending a server that another process has started, and reaps when it comes to it."""

import signal
import subprocess
import sys
import time

import psutil

from resources.servers.processes import Ending, ProcessId, started_s, stop

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_server_whose_parent_does_not_reap_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        began = time.monotonic()
        stop([(ProcessId(pid, started_s(pid)), Ending(signal.SIGTERM, signal.SIGKILL, patience_s=5.0))])
        assert time.monotonic() - began < 5
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        parent.kill()
