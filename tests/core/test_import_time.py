"""`import mha_course` stays cheap beside torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

HEAVY = ("matplotlib", "transformers", "IPython", "scipy")


def test_import_costs_at_most_50_ms_on_top_of_torch() -> None:
    times = []
    for _ in range(3):  # the fastest of three: other work on the machine only ever adds time
        run = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import torch; import mha_course"],
            capture_output=True,
            text=True,
            check=True,
        )
        line = re.search(r"^import time:\s+\d+ \|\s+(\d+) \| mha_course$", run.stderr, re.MULTILINE)
        assert line, "no line for mha_course in the output of -X importtime"
        times.append(int(line[1]))
    assert min(times) <= 50_000, f"microseconds: {times}"


def test_import_brings_nothing_heavy() -> None:
    code = f"""
import json, sys, mha_course
roots = {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps(sorted(roots & {set(HEAVY)})))
print(json.dumps(sorted(name for name in sys.modules if name.startswith("mha_course."))))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, ours = map(json.loads, run.stdout.splitlines())
    assert heavy == []
    subpackages = {"experiments", "grading", "heads", "plots", "widgets"}
    assert not {name.split(".")[1] for name in ours} & subpackages
