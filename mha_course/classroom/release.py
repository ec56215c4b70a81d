"""Release feedback to all who can fetch it; nbgrader stops at the first who cannot.

It is loaded by its path, as `settings`: nothing else of the package is imported here.
"""

from __future__ import annotations

from glob import glob
from pathlib import Path

from nbgrader.exchange.default import ExchangeReleaseFeedback

_OF_THE_EXCHANGE = ("timestamp.txt", "submission_secret.txt")


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
        excluded = [*filter(None, self.coursedir.student_id_exclude.split(",")), *others]
        self.coursedir.student_id_exclude = ",".join(excluded)
        super().copy_files()
