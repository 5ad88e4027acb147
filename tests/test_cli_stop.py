"""Commands that run until a signal."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, threading, time
from flask_chatwoot.cli.stop import Stop

main = threading.main_thread().ident

def send():
    # Not before the main thread waits.
    seen = 0

    while seen < 1000:
        seen += sys._current_frames()[main].f_code.co_name == "wait"
        time.sleep(0)

    signal.pthread_kill({thread}, signal.{name})

stop = Stop()
threading.Thread(target=send).start()
stop.wait()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("thread", ["main", "threading.get_ident()"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_wait_in_whichever_thread(thread: str, name: str) -> None:
    program = PROGRAM.format(thread=thread, name=name)

    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 0
