"""Sphinx extension of the book: puts the exercises beside the pages, to be downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

from mha_course.bundle import name, write_bundle

logger = logging.getLogger(__name__)


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the zip file that the page on exercises links to."""
    if error is not None or app.builder.format != "html":
        return
    try:
        write_bundle(Path(app.srcdir), Path(app.outdir, name()), os.environ.get("MHA_SITE_URL", ""))
    except ValueError as problem:  # whoever solves the exercises in this folder can build the book
        logger.info(f"exercises not packed for download: {problem}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the function to the build."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
