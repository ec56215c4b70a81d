"""Sphinx extension of the book: how docstrings are shown on the reference page."""

from __future__ import annotations

import importlib
import pkgutil
import re
from inspect import getdoc
from types import FunctionType
from typing import Any, get_type_hints

from docutils import nodes
from docutils.parsers.rst import roles
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.ext.autodoc import MethodDocumenter

import mha_course


def _defined_names() -> dict[str, type | FunctionType]:
    """Find the public classes and functions of the core modules, by their full names."""
    found = {}
    for module in pkgutil.iter_modules(mha_course.__path__, "mha_course."):
        if module.ispkg or module.name.startswith("mha_course._"):
            continue
        for name, member in vars(importlib.import_module(module.name)).items():
            ours = getattr(member, "__module__", None) == module.name
            if ours and isinstance(member, type | FunctionType) and not name.startswith("_"):
                found[f"{module.name}.{name}"] = member
    return found


def evaluate_fields(defined: dict[str, type | FunctionType]) -> None:
    """Let the signature of a NamedTuple show its types; Python leaves them as strings there."""
    for member in defined.values():
        if isinstance(member, type) and issubclass(member, tuple):
            member.__new__.__annotations__ = get_type_hints(member)


DEFINED = _defined_names()
# What `name` in a docstring links to. Plain words (attention, device) are left out: they are
# also the names of arguments.
LINKED = {
    name: full
    for full in DEFINED
    if not ((name := full.rpartition(".")[2]).isalpha() and name.islower())
}
TUPLE_FIELD = type(mha_course.ModelShape.name)


def code(
    _name: str, rawtext: str, text: str, _lineno: int, _inliner: object, *_: object, **__: object
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Show what stands in single backticks as code, with a link if it is a name of the package."""
    literal = nodes.literal(rawtext, text, classes=["py"])
    target = LINKED.get(text.removesuffix("()"))
    if target is None:
        return [literal], []
    link = pending_xref(rawtext, literal, refdomain="py", reftype="obj", reftarget=target)
    return [link], []


def keep_formulas(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Show indented lines after an empty one in a module's docstring as they stand."""
    if what != "module":
        return
    shown: list[str] = []
    for i, line in enumerate(lines):
        starts = line.startswith(" ") and i > 0 and not lines[i - 1].strip()
        before = next((text for text in reversed(shown) if text.strip()), "")
        if starts and not before.startswith((" ", ">>>")) and not before.endswith("::"):
            shown += ["::", ""]
        shown.append(line)
    lines[:] = shown


def keep_colons(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking what comes before a colon for the type of a property."""
    if what in ("property", "attribute", "data"):
        lines[:0] = ["..", ""]  # an empty comment


def skip_fields(
    _app: Sphinx, _what: str, _name: str, member: object, _skip: bool, _options: object
) -> bool | None:
    """Leave out fields of a NamedTuple: its signature and its docstring have them already."""
    return True if isinstance(member, TUPLE_FIELD) else None


def drop_builtin_text(
    _app: Sphinx, what: str, _name: str, obj: object, _options: object, lines: list[str]
) -> None:
    """Take away what Python says about dict or tuple from data that is one."""
    if what == "data" and "\n".join(lines).strip() == getdoc(type(obj)):
        lines.clear()


def mend_letters(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Keep a description of one letter, as in "num_heads: h.", from becoming an item of a list."""
    lines[:] = [re.sub(r"^(\s+)(\w\.)$", r"\1\\\2", line) for line in lines]


def name_torch(
    _app: Sphinx, _env: object, node: pending_xref, _shown: nodes.Node
) -> nodes.Node | None:
    """Show types of torch as code writes them: `nn.MultiheadAttention` is not ours."""
    *module, name = node["reftarget"].split(".")
    if module[:2] == ["torch", "nn"]:
        return nodes.Text(f"nn.{name}")
    return nodes.Text("torch.device") if (module, name) == (["torch"], "device") else None


class OneSignature(MethodDocumenter):
    """Shows the signature of the implementation, whose types carry the shapes; no overloads."""

    priority = MethodDocumenter.priority + 1

    def format_signature(self, **kwargs: Any) -> str:
        """Format the signature as if there were no overloads."""
        if self.analyzer is not None:
            self.analyzer.overloads.pop(".".join(self.objpath), None)
        return super().format_signature(**kwargs)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    roles.register_local_role("code-of-docstrings", code)
    app.setup_extension("sphinx.ext.autodoc")
    app.add_autodocumenter(OneSignature, override=True)
    evaluate_fields(DEFINED)
    app.connect("autodoc-process-docstring", drop_builtin_text, priority=300)
    app.connect("autodoc-process-docstring", keep_formulas)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", mend_letters, priority=600)  # after napoleon
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", name_torch)
    variables = next(f for f in PyObject.doc_field_types if f.name == "variable")
    variables.label = "Attributes"  # as in the docstring; Sphinx says Variables
    return {"parallel_read_safe": True, "parallel_write_safe": True}
