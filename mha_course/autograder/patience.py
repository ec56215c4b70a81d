"""Patience with a gradebook or a disk that is not to be had for a while."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from nbgrader.api import InvalidEntry
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

WAIT_SECONDS = 60.0
LONGEST_PAUSE = 5.0

_Result = TypeVar("_Result")

# full, over a quota, read-only, or a network folder that is not there now
_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
}


class CannotStore(OSError):  # noqa: N818  what it is
    """Gradebook or disk stayed locked, full or gone; the message names the way out."""


def patiently(act: Callable[[], _Result], waiting: Callable[[str], None]) -> _Result:
    """Do what reads or writes gradebook and folders; try again while they are locked, full or gone.

    Args:
        act: What to do; it may be done several times.
        waiting: Called once with a sentence, before the second try.

    Returns:
        What `act` returns.

    Raises:
        CannotStore: it did not work in `WAIT_SECONDS`.
    """
    until = time.monotonic() + WAIT_SECONDS
    pause = 0.1
    told = False
    while True:
        try:
            return act()
        except (DBAPIError, InvalidEntry, OSError) as error:
            # InvalidEntry is what nbgrader makes of any error of the database when it adds a row
            cause = error.__context__ if isinstance(error, InvalidEntry) else error
            why = _passing(cause)
            if not why:
                raise
            if time.monotonic() > until:
                raise CannotStore(
                    f"{why}, for {WAIT_SECONDS:g} seconds by now. {_way_out(cause)}, and run the "
                    "same command again: it goes on from here"
                ) from error
        if not told:
            waiting(f"{why}; trying again for {WAIT_SECONDS:g} seconds")
            told = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _passing(error: BaseException | None) -> str:
    """Return what is the matter, if it may pass; empty if it will not."""
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" ({error.filename})" if error.filename else ""
        return f"the disk cannot be used: {error.strerror}{where}"
    if isinstance(error, DBAPIError) and (
        isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    ):
        return f"the gradebook cannot be used: {' '.join(str(error.orig).split())}"
    return ""


def _way_out(error: BaseException | None) -> str:
    full = isinstance(error, OSError) or "full" in str(error)
    return "Make room there" if full else "Close other programs that use it, or start its server"
