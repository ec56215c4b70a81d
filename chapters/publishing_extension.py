"""Sphinx extension for what only a published book has: its address, and where its source is.

    MHA_SITE_URL         where the book will be: canonical addresses, a sitemap, pictures for links
    MHA_REPOSITORY_URL   where its source is: links to edit a page, and to report what is wrong
    MHA_HUB_URL          a JupyterHub with nbgitpuller: a button opens the page there, as a notebook
    MHA_LAB_URL          in its place, a JupyterLab that runs in the course's folder: `make lab`

A hub fetches the course from its repository. It needs what requirements.txt has, and JupyterLab's
settings of the folder .jupyter, with which text notebooks open as notebooks.

All come from the environment, as `.github/workflows/publish.yml` sets them: a copy of the course
says where it is itself. Without them the book is complete, and names no address.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ConfigError

SITE, REPOSITORY = "MHA_SITE_URL", "MHA_REPOSITORY_URL"
HUB, LAB = "MHA_HUB_URL", "MHA_LAB_URL"
BRANCH = "main"  # the theme's, too


def address(variable: str) -> str:
    """Return the address in an environment variable, without a slash at its end.

    Raises:
        ConfigError: it is no address on the web.
    """
    given = os.environ.get(variable, "").strip().rstrip("/")
    if given and (urlsplit(given).scheme not in ("http", "https") or not urlsplit(given).netloc):
        raise ConfigError(
            f"{variable}={given!r} is no address; it looks like https://example.org/course"
        )
    return given


def say_where(_app: Sphinx, config: Any) -> None:
    """Put the addresses into the settings of the theme and of the extensions that need them."""
    config.ogp_site_name = config.html_title
    if site := address(SITE):
        config.html_baseurl = config.ogp_site_url = f"{site}/"
        config.sitemap_url_scheme = "{link}"  # the book has one language and one version
        config.sitemap_excludes = ["search.html", "genindex.html"]
    else:
        config.ogp_social_cards = {"enable": False}  # a picture needs an address
    if repository := address(REPOSITORY):
        config.html_theme_options = {
            **config.html_theme_options,
            "repository_url": repository,
            # the theme knows the addresses of three; of a server of one's own it cannot tell
            "repository_provider": next(
                (name for name in ("gitlab", "bitbucket") if name in repository), "github"
            ),
            "use_repository_button": True,
            "use_issues_button": True,
            "use_edit_page_button": True,
        }


def in_jupyterlab(page: str) -> str:
    """Return the address at which a page opens as a notebook in JupyterLab; empty without one.

    Args:
        page: Its path without ".md", as in chapters/notation.

    Raises:
        ConfigError: there is a hub, and no repository from which it could fetch the course.
    """
    lab, hub, repository = address(LAB), address(HUB), address(REPOSITORY)
    if lab:
        return f"{lab}/lab/tree/{page}.md"
    if not hub:
        return ""
    if not repository:
        raise ConfigError(
            f"{HUB} is set, and {REPOSITORY} is not: the hub fetches the course from there"
        )
    folder = repository.rpartition("/")[2].removesuffix(".git")
    query = urlencode(
        {
            "repo": repository,
            "branch": BRANCH,
            "targetpath": folder,
            "urlpath": f"lab/tree/{folder}/{page}.md",
        }
    )
    return f"{hub}/hub/user-redirect/git-pull?{query}"


def add_jupyterlab_button(
    _app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Put a button beside the one for downloads, on pages that are notebooks."""
    if context.get("ipynb_source") and (where := in_jupyterlab(page)):
        button = {
            "type": "link",
            "url": escape(where),
            "tooltip": "Open in JupyterLab",
            "icon": "fas fa-rocket",
            "label": "jupyterlab-button",
        }
        context["header_buttons"].append(button)


def write_first_page(app: Sphinx, error: Exception | None) -> None:
    """Write index.html anew: Jupyter Book leaves a redirection there that is no whole page."""
    if error is not None or app.builder.name != "html":
        return
    first = f"{app.config.root_doc}.html"
    title = escape(app.config.html_title)
    site = app.config.html_baseurl
    Path(app.outdir, "index.html").write_text(
        f"""<!DOCTYPE html>
<html lang="{app.config.language}">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={first}" />
<link rel="canonical" href="{site}{first}" />
</head>
<body>
<p><a href="{first}">{title}</a></p>
</body>
</html>
""",
        encoding="utf-8",
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinxext.opengraph")
    if address(SITE):
        app.setup_extension("sphinx_sitemap")
    app.connect("build-finished", write_first_page, priority=900)  # after Jupyter Book
    # after the theme's own buttons, and after notebook_extension
    app.connect("html-page-context", add_jupyterlab_button, priority=502)
    app.connect("config-inited", say_where, priority=100)  # before those who use the settings
    return {"parallel_read_safe": True, "parallel_write_safe": True}
