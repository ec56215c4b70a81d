"""Signs in Python code that something other than the task is meant. Nothing is executed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WHAT = {
    "processes": "Other programs or processes",
    "network": "The network",
    "environment": "Environment variables or the user's account",
    "paths": "A path that leads out of the folder of the notebook",
    "internals": "What Python itself is made of: frames, memory, foreign functions",
    "patching": "A change to something of Python's or of a library",
    "odd-objects": "An object that has a say in how it is compared",
    "hidden-code": "Code or a name that is put together while it runs",
    "ipython": "IPython itself, or a command to it",
    "course-code": "Parts of mha_course that graded work does not have",
    "torchs-attention": "Torch's own attention, in a task that asks for one's own",
}
"""What each kind of sign is about."""

# By dotted name; a name stands for all below it, too.
_NAMES = {
    "processes": """
        subprocess multiprocessing pty signal concurrent.futures.ProcessPoolExecutor os.system
        os.popen os.fork os.forkpty os.execl os.execle os.execlp os.execlpe os.execv os.execve
        os.execvp os.execvpe os.spawnl os.spawnv os.spawnvp os.posix_spawn os.posix_spawnp os.kill
        os.killpg os._exit os.abort os.setsid os.pidfd_open
    """,
    "network": """
        socket ssl http.client http.server urllib.request ftplib smtplib telnetlib socketserver
        xmlrpc requests httpx aiohttp websocket torch.hub torch.distributed
    """,
    "environment": "os.environ os.environb os.getenv os.getlogin os.path.expanduser getpass pwd",
    "paths": "pathlib.Path.home",
    "internals": """
        ctypes cffi _ctypes gc.get_objects gc.get_referrers gc.get_referents inspect.stack
        inspect.currentframe inspect.trace inspect.getouterframes inspect.getinnerframes
        sys._getframe sys._current_frames sys.settrace sys.setprofile sys.addaudithook
        sys.meta_path sys.path_hooks types.CodeType types.FunctionType atexit resource mmap
    """,
    "patching": "sys.modules unittest.mock importlib.reload",
    "hidden-code": "base64 marshal zlib binascii pickle.loads codecs.decode",
    "course-code": """
        mha_course.autograder mha_course.grading.reference mha_course.grading.mistakes
        mha_course.grading.mutants mha_course.grading.bank mha_course.grading.sitting
    """,
}
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_COURSE = _words("grading models plots")  # all of `mha_course` that notebooks import

# Attributes that say what they are, whatever they are of.
_INSIDES = _words("""
    __builtins__ __closure__ __code__ __globals__ __subclasses__ cell_contents cr_frame f_back
    f_builtins f_globals f_locals gi_frame tb_frame
""")
_COMPARES = _words("__eq__ __ne__ __lt__ __le__ __gt__ __ge__")
_ANSWERS_FOR_ITSELF = _words("""
    __array_function__ __array_ufunc__ __getattribute__ __instancecheck__ __torch_dispatch__
    __torch_function__
""")
_PATCHED = _words("""
    IPython builtins functools importlib inspect io itertools json linecache math mha_course
    nbgrader numpy os random statistics sys torch traceback typing
""")
_SETTINGS = ("torch.backends", "numpy.random")  # attributes that are there to be set
# Modules that others import: `torch.os` is `os`.
_BORROWED = _words("builtins ctypes gc importlib inspect os socket subprocess sys")
_ATTENTION = _words("""
    MultiheadAttention Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
    TransformerEncoderLayer _native_multi_head_attention _scaled_dot_product_attention_math
    _scaled_dot_product_flash_attention_for_cpu _transformer_encoder_layer_fwd flex_attention
    multi_head_attention_forward scaled_dot_product_attention
""")
_OUTSIDE = re.compile(
    r"/(?:Users|course|dev|etc|folders|home|installed|mnt|opt|proc|root|srv|sys|tmp|usr|var)(?:/.*)?"
    r"|~/.*|[A-Za-z]:\\.*|\.\.|\.\./.*|.*/\.\.(?:/.*)?"
    r"|(?:.*/)?solutions/.*|.*gradebook.*|.*\.course-secret|.*\.ipynb"
)
_IMPORTS = ("__import__", "importlib.import_module", "builtins.__import__")
_DEEPEST = 10  # parts of a dotted name; more are nothing that is known here
_OPENS = _words("""
    glob.glob glob.iglob io.open open os.listdir os.open os.scandir os.walk pathlib.Path
""")
_OF_PYTHON = {"get_ipython": ("ipython",), "__builtins__": ("internals",)}
_LOOKED_AT = (
    *(ast.Assign, ast.Attribute, ast.Call, ast.Constant, ast.Dict, ast.Expr, ast.FunctionDef),
    *(ast.Import, ast.ImportFrom, ast.Name, ast.Subscript),
)


class Sign(NamedTuple):
    """Something to look at.

    Attributes:
        kind: One of WHAT.
        line: Where it is, from 1.
    """

    kind: str
    line: int


def signs(tree: ast.AST, names: Mapping[str, str], *, own_attention: bool = False) -> set[Sign]:
    """Return the signs in a tree.

    Args:
        tree: Of a cell.
        names: What its names stand for, as `imported` returns it.
        own_attention: Whether the code is to hold the learner's own attention.
    """
    nodes = [node for node in ast.walk(tree) if isinstance(node, _LOOKED_AT)]
    passed_over = {id(inner) for node in nodes for inner in _passed_over(node)}
    found = set()
    for node in nodes:
        if id(node) in passed_over:
            continue
        found |= {Sign(kind, node.lineno) for kind in _kinds(node, names)}
        if own_attention and _is_torchs_attention(node, names):
            found.add(Sign("torchs-attention", node.lineno))
    return found


def _passed_over(node: ast.AST) -> Iterator[ast.AST]:
    """Yield docstrings, and `os.environ` where a variable is set: some machines need that."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    elif isinstance(node, ast.Subscript):
        is_set = isinstance(node.ctx, ast.Store)
        yield from [node.value] if is_set and getattr(node.value, "attr", "") == "environ" else []


# ---------------------------------------------------------------------------------------------
# Names


def imported(tree: ast.AST, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what names stand for, as far as imports tell: `F` for `torch.nn.functional`.

    Args:
        tree: Of a cell.
        known: What names stood for before it.
    """
    names = dict(known or {})
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                first = one.name.split(".")[0]
                names[one.asname or first] = one.name if one.asname else first
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                names[one.asname or one.name] = f"{node.module}.{one.name}"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):  # t = torch
            meant = names.get(node.value.id, "")
            names |= {one.id: meant for one in node.targets if isinstance(one, ast.Name) and meant}
    return names


def _dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return what an expression stands for: `torch.nn.Linear`; empty where imports do not tell."""
    after: list[str] = []
    while len(after) < _DEEPEST:
        if isinstance(node, ast.Attribute):
            after.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Call) and _is_getattr(node):
            after.append(_text(node.args[1]))
            node = node.args[0]
        else:
            break
    first = ""
    if isinstance(node, ast.Name):
        first = names.get(node.id, "")
    elif isinstance(node, ast.Call) and node.args and _is_import(node, names):
        first = _text(node.args[0])
    if not first:
        return ""
    parts = [*first.split("."), *reversed(after)]
    borrowed = [i for i, part in enumerate(parts) if part in _BORROWED]
    return ".".join(parts[borrowed[-1] :] if borrowed else parts)


def _called(call: ast.Call, names: Mapping[str, str]) -> str:
    """Return the name of the function that is called; of one of Python's own, as it is."""
    if isinstance(call.func, ast.Name):
        return names.get(call.func.id, call.func.id)
    return _dotted(call.func, names) if isinstance(call.func, ast.Attribute) else ""


def _is_getattr(call: ast.Call) -> bool:
    """Whether a call is `getattr(…, "name")`."""
    is_named = isinstance(call.func, ast.Name) and call.func.id == "getattr"
    return is_named and len(call.args) > 1 and bool(_text(call.args[1]))


def _is_import(call: ast.Call, names: Mapping[str, str]) -> bool:
    """Whether a call is `__import__(…)` or `importlib.import_module(…)`."""
    function = call.func
    if isinstance(function, ast.Name):
        return names.get(function.id, function.id) in _IMPORTS
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{names.get(function.value.id)}.{function.attr}" in _IMPORTS
    return False


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# ---------------------------------------------------------------------------------------------
# Kinds


def _kinds(node: ast.AST, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the kinds of signs that a node is by itself."""
    if isinstance(node, ast.Attribute):
        yield from _of_attribute(node, names)
    elif isinstance(node, ast.Call) and node.args:
        yield from _of_call(node, names)
    elif isinstance(node, ast.Subscript):
        yield from _of_item(node, names)
    elif isinstance(node, ast.Constant):
        if _leads_out(_text(node)):
            yield "paths"
    elif isinstance(node, ast.Name):
        yield from _OF_PYTHON.get(node.id, ())
    elif isinstance(node, ast.Import):
        for one in node.names:
            yield from _of_name(one.name)
    elif isinstance(node, ast.ImportFrom):
        for one in node.names:
            yield from _of_name(f"{node.module}.{one.name}")
    elif _has_a_say(node):
        yield "odd-objects"


def _of_name(name: str) -> Iterator[str]:
    """Yield what the dotted name of a module, or of something in it, is a sign of."""
    first, *rest = name.split(".")[:_DEEPEST]
    parents = [".".join((first, *rest[:end])) for end in range(len(rest) + 1)]
    yield from {_KIND_OF[parent] for parent in parents if parent in _KIND_OF}
    if first == "mha_course" and rest and rest[0] not in _COURSE and not rest[0].startswith("__"):
        yield "course-code"
    if first == "IPython" and rest[:1] != ["display"]:
        yield "ipython"


def _of_attribute(node: ast.Attribute, names: Mapping[str, str]) -> Iterator[str]:
    dotted = _dotted(node, names)
    yield from _of_name(dotted)
    if node.attr in _INSIDES:
        yield "internals"
    if not isinstance(node.ctx, ast.Load) and _is_patched(dotted):
        yield "patching"


def _is_patched(dotted: str) -> bool:
    """Whether what is set, an attribute, belongs to a library."""
    return dotted.split(".")[0] in _PATCHED and not dotted.startswith(_SETTINGS)


def _of_item(node: ast.Subscript, names: Mapping[str, str]) -> Iterator[str]:
    """Yield what it is a sign of that an item is set, in the dictionary of a module or a class."""
    owner = node.value
    if isinstance(owner, ast.Call) and _called(owner, names) == "vars" and owner.args:
        owner = owner.args[0]
    elif isinstance(owner, ast.Attribute) and owner.attr == "__dict__":
        owner = owner.value
    else:
        return
    if not isinstance(node.ctx, ast.Load) and _is_patched(_dotted(owner, names)):
        yield "patching"


def _of_call(call: ast.Call, names: Mapping[str, str]) -> Iterator[str]:
    called = _called(call, names)
    first, second = [*call.args[:2], None][:2]
    text = _text(first)
    if called in ("setattr", "delattr") and first is not None:
        if _is_patched(_dotted(first, names)):
            yield "patching"
    elif _is_import(call, names):
        yield from _of_name(text) if text else ["hidden-code"]
    elif called in ("exec", "eval", "compile"):
        if not text:
            yield "hidden-code"
        elif tree := parsed(text):
            yield from {sign.kind for sign in signs(tree, imported(tree, names))}
    elif called == "getattr" and first is not None:
        yield from _of_name(_dotted(call, names))
        if _text(second) in _INSIDES:
            yield "internals"
        if isinstance(second, ast.BinOp | ast.JoinedStr | ast.Call) and _dotted(first, names):
            yield "hidden-code"
    elif called in _OPENS and text.startswith(("/", "~")):
        yield "paths"


def _leads_out(text: str) -> bool:
    return 1 < len(text) < 200 and not re.search(r"\s", text) and bool(_OUTSIDE.fullmatch(text))


def _has_a_say(node: ast.AST) -> bool:
    """Whether it makes an object that compares as it likes, or that libraries ask about itself."""
    if isinstance(node, ast.FunctionDef):
        body = [one for one in node.body if not isinstance(one, ast.Expr)]
        always = len(body) == 1 and isinstance(body[0], ast.Return) and _is_verdict(body[0].value)
        return node.name in _ANSWERS_FOR_ITSELF or (node.name in _COMPARES and always)
    if isinstance(node, ast.Assign):
        named = [getattr(one, "attr", getattr(one, "id", "")) for one in node.targets]
        return any(_says_always(name, node.value) for name in named)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return any(_says_always(_text(key), value) for key, value in pairs)
    return False


def _says_always(name: str, value: ast.AST) -> bool:
    return name in _COMPARES and isinstance(value, ast.Lambda) and _is_verdict(value.body)


def _is_verdict(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _is_torchs_attention(node: ast.AST, names: Mapping[str, str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in _ATTENTION
    if isinstance(node, ast.ImportFrom):
        return any(one.name in _ATTENTION for one in node.names)
    if isinstance(node, ast.Name):
        return names.get(node.id, "").rpartition(".")[2] in _ATTENTION
    return _text(node) in _ATTENTION


def parsed(source: str) -> ast.Module | None:
    """Parse Python code, whatever it is; None if it is none."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
