"""Settings of nbgrader for a course folder, as `nbgrader_config.py` there takes them.

Every nbgrader command and every JupyterLab of a course reads them. So that file loads this one by
its path: `import mha_course` would bring torch, and seconds, into each. For the same reason nothing
else of the package is imported here.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

_OURS = "mha_course.autograder.preprocessors"
_CELL_SECONDS = 60


def configure(c: Any, root: str | Path) -> None:
    """Set what this course needs; what a `nbgrader_config.py` says afterwards comes before it.

    Args:
        c: What `get_config()` returns in a `nbgrader_config.py`.
        root: Folder of the course.
    """
    # imported by nbgrader already; what is named by a string here takes seconds
    from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
    from nbgrader.preprocessors import (
        AssignLatePenalties,
        CheckCellMetadata,
        ClearHiddenTests,
        GetGrades,
        IgnorePattern,
        LimitOutput,
        SaveAutoGrades,
    )

    # nbgrader calls `alembic` by name when it makes the gradebook. With .venv/bin in front of PATH
    # that works in a terminal where the environment is not activated, and in JupyterLab.
    programs = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != programs:
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])

    # Where things lie. The gradebook is gradebook.db in the course's folder, and not in git.
    c.CourseDirectory.root = str(Path(root).resolve())
    c.CourseDirectory.course_id = "multi-head-attention"
    c.CourseDirectory.source_directory = "solutions"  # what instructors write
    c.CourseDirectory.release_directory = "exercises"  # what learners get, generated

    # What learners find where the solution was.
    c.ClearSolutions.code_stub = {
        "python": 'raise NotImplementedError("Task not done yet: write your code here")'
    }
    c.ClearSolutions.text_stub = "*Write your answer here, in place of this line.*"

    # The Validate button: a cell may run so long, then it counts as failed and the next one runs.
    says = f"his cell ran for more than {_CELL_SECONDS} seconds. Is there an endless loop?"
    c.Execute.timeout = _CELL_SECONDS
    c.Execute.error_on_timeout = {
        "ename": "CellTimeoutError",
        "evalue": f"T{says}",
        "traceback": [f"CellTimeoutError: t{says}"],
    }

    # nbgrader's own, and no warning about how kernels talk on this machine.
    c.Execute.extra_arguments = [
        "--HistoryManager.hist_file=:memory:",
        "--IPKernelApp.log_level=ERROR",
    ]

    # Grading is the course's own: a sandbox, and tests where no code of a learner runs. The rest
    # is nbgrader's, in its order. `mha-course grade` does the same for many submissions at a time.
    c.Autograde.exporter_class = f"{_OURS}.UnreadExporter"
    c.Autograde.sanitize_preprocessors = []
    c.Autograde.autograde_preprocessors = [
        f"{_OURS}.JudgeSubmission",
        IgnorePattern,
        LimitOutput,
        SaveAutoGrades,
        AssignLatePenalties,
        CheckCellMetadata,
        f"{_OURS}.KeepRecord",
    ]

    # Late work costs nothing, unless the course sets c.LatePolicy.percent_a_day and others.
    c.AssignLatePenalties.plugin_class = "mha_course.classroom.late.LatePolicy"

    # Hidden tests draw other inputs for every student, from a seed made with the course's secret:
    # the file .course-secret in its folder, or the environment variable MHA_COURSE_SECRET.
    c.JudgeSubmission.secret_folder = c.CourseDirectory.root
    # As long as for the button; c.JudgeSubmission has the other limits of a submission, too.
    c.JudgeSubmission.cell_seconds = float(_CELL_SECONDS)

    # What lies in the exchange is collected only if it is a student's own. (None on Windows.)
    if os.name == "posix":
        c.ExchangeFactory.collect = _loaded("collect")["CollectOwn"]
    # Nobody puts a folder of their own in the place of the course's, and who has handed in by
    # another way stops nobody's feedback.
    release = _loaded("release")
    c.ExchangeFactory.release_assignment = release["ReleaseSticky"]
    c.ExchangeFactory.release_feedback = release["ReleaseToAll"]

    # What learners wrote is shown in formgrader and feedback, and never run there.
    c.HTMLExporter.filters = {"markdown2html": "mha_course.autograder.safe_html.markdown2html"}
    # The formgrader shows the rubric under a written answer.
    c.HTMLExporter.preprocessors = ["mha_course.classroom.rubric.ShowRubric"]

    # Learners see in their feedback what failed, but not the hidden tests: those serve again.
    c.GenerateFeedback.preprocessors = [GetGrades, ClearHiddenTests, CSSHTMLHeaderPreprocessor]
    # And their browsers load nothing from elsewhere.
    c.GenerateFeedback.exporter_class = "mha_course.classroom.feedback.FeedbackExporter"


def _loaded(module: str) -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).with_name(f"{module}.py")))
