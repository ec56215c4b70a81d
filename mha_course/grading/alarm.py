"""A time limit for code that runs in this process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def alarm(seconds: float, error: BaseException) -> Iterator[None]:
    """Raise `error` in what runs inside once so many seconds are over: an endless loop must end.

    Signals reach the main thread alone, and Windows has none: elsewhere nothing is limited.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
