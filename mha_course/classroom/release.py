"""Release assignments where nobody can take the place of the course, and feedback to all.

It is loaded by its path, as `settings`: nothing else of the package is imported here.
"""

from __future__ import annotations

import os
import stat
from glob import glob
from pathlib import Path

from nbgrader.exchange.default import ExchangeReleaseAssignment, ExchangeReleaseFeedback

_OF_THE_EXCHANGE = ("timestamp.txt", "submission_secret.txt")


class ReleaseSticky(ExchangeReleaseAssignment):  # type: ignore[misc]  # nbgrader has no types
    """`nbgrader release_assignment` into an exchange where nobody moves another's folder away.

    Else a learner could put a folder in the place of the course's, and get what others submit.
    """

    def ensure_root(self) -> None:
        """Make the folder of the exchange, with the sticky bit that nbgrader leaves out."""
        super().ensure_root()
        mode = stat.S_IMODE(os.stat(self.root).st_mode)
        if mode & stat.S_ISVTX:
            return
        try:
            os.chmod(self.root, mode | stat.S_ISVTX)
        except PermissionError:
            self.log.warning(
                "Learners can move each other's folders in %s: have its owner run chmod 1777 on it",
                self.root,
            )


class ReleaseToAll(ExchangeReleaseFeedback):  # type: ignore[misc]  # nbgrader has no types
    """`nbgrader release_feedback` that names whose submission came by another way."""

    def copy_files(self) -> None:
        """Copy the feedback of those who have submitted through the exchange."""
        others = sorted(
            Path(folder).parent.name
            for folder in glob(self.src_path)
            if not all(Path(folder, name).is_file() for name in _OF_THE_EXCHANGE)
        )
        if others:
            self.log.warning(
                "%s did not submit through the exchange, and cannot fetch feedback there: hand out "
                "what is in %s yourself",
                ", ".join(others),
                self.coursedir.feedback_directory,
            )
        before = self.coursedir.student_id_exclude
        self.coursedir.student_id_exclude = ",".join([*filter(None, before.split(",")), *others])
        try:
            super().copy_files()
        finally:  # formgrader goes on with the same coursedir
            self.coursedir.student_id_exclude = before
