"""Grades a class: safely, many at a time, and into nbgrader's gradebook.

Each submission is put into the instructor's notebook (`rebuild`), its cells run in a sandbox
(`sandbox`, `warm_server`, `learner`), and its tests where they do not run (`judge`).
"""

import sys

# nbformat brings jsonschema, which would compile a grammar of addresses for more than a second,
# for checks that notebooks do not ask for; without the package it leaves them out
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
