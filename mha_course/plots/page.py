"""A report as one HTML file: light or dark as the reader has it, no script, no other file."""

from __future__ import annotations

from importlib.resources import files

from mha_course.plots.canvas import STYLE_BY_SCHEME


def html_file(package: str, template: str, **values: object) -> str:
    """Fill in a template that begins with `{% extends "page" %}`; all values are escaped.

    Args:
        package: In which the template is.
        template: Its file name.
        **values: What it asks for.
    """
    import jinja2

    texts = {
        "page": files("mha_course.plots").joinpath("page.html.j2").read_text("utf-8"),
        template: files(package).joinpath(template).read_text("utf-8"),
    }
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(scheme=STYLE_BY_SCHEME, **values)
