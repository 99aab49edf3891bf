"""A process that ends with the one that started it."""

from __future__ import annotations

import os
import threading
import time

import psutil


def end_with_parent(parent: int, interval: float = 0.5) -> None:
    """Ends this process and all it started once ``parent`` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
