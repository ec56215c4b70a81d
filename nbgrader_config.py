"""Settings of nbgrader for this course; every `nbgrader` command in this folder reads them."""

import os
import sys
from pathlib import Path

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

c = get_config()

# nbgrader calls `alembic` by name when it makes the gradebook. With .venv/bin in front of PATH
# that works in a terminal where the environment is not activated, and in JupyterLab.
_bin = str(Path(sys.executable).parent)
if os.environ.get("PATH", "").split(os.pathsep)[0] != _bin:
    os.environ["PATH"] = os.pathsep.join([_bin, os.environ.get("PATH", "")])

# Where things lie. The gradebook is gradebook.db beside this file, and not in git.
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.course_id = "multi-head-attention"
c.CourseDirectory.source_directory = "solutions"  # what instructors write
c.CourseDirectory.release_directory = "exercises"  # what learners get, generated

# What learners find where the solution was.
c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("Task not done yet: write your code here")'
}
c.ClearSolutions.text_stub = "*Write your answer here, in place of this line.*"

# The Validate button: a cell may run for a minute, then it counts as failed and the next one runs.
c.Execute.timeout = 60
c.Execute.error_on_timeout = {
    "ename": "CellTimeoutError",
    "evalue": "This cell ran for more than 60 seconds. Is there an endless loop?",
    "traceback": [
        "CellTimeoutError: this cell ran for more than 60 seconds. Is there an endless loop?"
    ],
}

# nbgrader's own, and no warning about how kernels talk on this machine.
c.Execute.extra_arguments = [
    "--HistoryManager.hist_file=:memory:",
    "--IPKernelApp.log_level=ERROR",
]

# Grading is the course's own: a sandbox, and tests where no code of a learner runs. The rest is
# nbgrader's, in its order. By name, for every nbgrader command reads this file, and what is named
# here takes seconds to import. `mha-course grade` does the same for many submissions at a time.
_OURS = "mha_course.autograder.preprocessors"
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

# Hidden tests draw other inputs for every student, from a seed made with the course's secret: the
# file .course-secret beside this one, or the environment variable MHA_COURSE_SECRET. Keep a copy.
c.JudgeSubmission.secret_folder = c.CourseDirectory.root
# What a submission may use; `mha-course grade` has options for the same.
c.JudgeSubmission.cell_seconds = 60.0
c.JudgeSubmission.total_seconds = 600.0
c.JudgeSubmission.memory_mb = 2048
c.JudgeSubmission.processes = 32
c.JudgeSubmission.open_files = 256
c.JudgeSubmission.disk_mb = 128
c.JudgeSubmission.output_characters = 10_000_000
c.JudgeSubmission.sandbox = True

# What learners wrote is shown in formgrader and feedback, and never run there.
c.HTMLExporter.filters = {"markdown2html": "mha_course.autograder.safe_html.markdown2html"}

# Learners see in their feedback what failed, but not the hidden tests: those serve again.
c.GenerateFeedback.preprocessors = [GetGrades, ClearHiddenTests, CSSHTMLHeaderPreprocessor]
