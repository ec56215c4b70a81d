"""Settings of nbgrader for this course; every `nbgrader` command in this folder reads them."""

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

c = get_config()

# The course's own settings. They are loaded by their path: `import mha_course` takes seconds.
found = find_spec("mha_course")
if found is None:  # nbgrader would go on with its own settings, and without a sandbox
    sys.exit(f"{__file__}: mha_course is not installed here; activate the course's environment")
settings = Path(found.origin).parent / "classroom" / "settings.py"
runpy.run_path(str(settings))["configure"](c, Path(__file__).parent)
