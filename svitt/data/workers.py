"""Worker processes that end with the process they work for."""

from __future__ import annotations

import os
import signal
import threading
import time


def serve(parent: int, interval: float = 0.5) -> None:
    """Called once in a worker: leaves interrupts to ``parent``, which lets the tasks at work finish, and ends
    this process once ``parent`` is gone, so that a killed program leaves no workers behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
