"""A seed for each student, so that nobody's hidden tests are another's.

The seed is an HMAC of the student and the assignment under the course's secret. Who knows the
secret can make every grade again; who knows a seed learns nothing about the others.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

SECRET_VARIABLE = "MHA_COURSE_SECRET"
SECRET_FILE = ".course-secret"


def student_seed(secret: str, assignment: str, student: str) -> str:
    """Return the seed of a student's hidden tests, 32 hexadecimal digits.

    >>> student_seed("secret", "heads", "ada") == student_seed("secret", "heads", "bob")
    False
    """
    # lengths first: ("ab", "c") and ("a", "bc") are different students
    message = f"{len(assignment)}:{assignment}{len(student)}:{student}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()[:32]


def course_secret(folder: str | Path) -> str:
    """Return the secret of the course in a folder; the first call there makes one.

    The environment variable MHA_COURSE_SECRET comes before the file `.course-secret`, which only
    its owner can read. Keep a copy of it: without it, old grades cannot be made again.

    Raises:
        ValueError: the file is empty.
    """
    if given := os.environ.get(SECRET_VARIABLE, "").strip():
        return given
    file = Path(folder) / SECRET_FILE
    try:
        # exclusive: of two graders that start together, one makes it and the other reads it
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = file.read_text(encoding="utf-8").strip()
        if not found:
            raise ValueError(
                f"{file} is empty; put the course's secret back into it, or delete it for a new "
                "one: hidden tests then draw other inputs than before"
            ) from None
        return found
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        secret = secrets.token_hex(32)
        opened.write(secret + "\n")
    return secret
