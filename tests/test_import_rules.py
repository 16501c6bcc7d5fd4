"""The rules of docs/background/architecture.md, checked on the sources, so that they hold for every new module."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from srmu.objective import tensors

PACKAGE = Path(__file__).parents[1] / "src" / "srmu"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Top to bottom: a room imports itself and the rooms before it.
ROOMS = tuple(
    tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["srmu"]["rooms"]
)
# Beyond the order: rooms that must not know these.
STRANGERS = {
    "surgery": {"inputs"},
    "evaluation": {"objective", "solver", "export"},
    "export": {"inputs", "objective", "solver", "evaluation"},
}
OBJECTIVE_MAY_IMPORT = {"collections", "dataclasses", "math", "typing", "jaxtyping", "numpy", "torch"}


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name):
    """The room of a module of the package: `srmu.inputs.rows` is in `data`; the package itself is in none."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def imports_of(path):
    """Every module that a file imports, at the top or inside a function, as (line, dotted name)."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names] if node.module == "srmu" else [None]
            found += [(node.lineno, f"{node.module}.{name}" if name else str(node.module)) for name in names]
    return found


def inner_imports():
    """(path, line, room, imported room) of every import between rooms of the package."""
    for path in SOURCES:
        room = room_of(module_name(path))
        for line, name in imports_of(path):
            if name.split(".")[0] == "srmu" and room_of(name) in ROOMS and room in ROOMS:
                yield path, line, room, room_of(name)


def place(path, line):
    return f"{path.relative_to(PACKAGE.parent)}:{line}"


def test_every_module_is_in_a_known_room():
    rooms = {room_of(module_name(path)) for path in SOURCES} - {None, "__main__"}
    assert rooms <= set(ROOMS), "name the new room in docs/background/architecture.md and in ROOMS"


def test_imports_point_only_upwards():
    wrong = [
        f"{place(path, line)}: {room} imports {imported}"
        for path, line, room, imported in inner_imports()
        if ROOMS.index(imported) > ROOMS.index(room)
    ]
    assert not wrong


def test_rooms_that_must_not_know_each_other_do_not():
    wrong = [
        f"{place(path, line)}: {room} imports {imported}"
        for path, line, room, imported in inner_imports()
        if imported in STRANGERS.get(room, ())
    ]
    assert not wrong


def test_the_objective_imports_tensor_libraries_alone():
    wrong = [
        f"{place(path, line)}: {name}"
        for path in SOURCES
        if room_of(module_name(path)) == "objective"
        for line, name in imports_of(path)
        if name.split(".")[0] not in OBJECTIVE_MAY_IMPORT and not name.startswith("srmu.objective")
    ]
    assert not wrong


def test_only_the_command_line_prints():
    wrong = []
    for path in SOURCES:
        if room_of(module_name(path)) in {"cli", "__main__"}:
            continue
        wrong += [f"{place(path, line)}: {name}" for line, name in imports_of(path) if name.split(".")[0] == "typer"]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{place(path, node.lineno)}: print")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}:
                wrong.append(f"{place(path, node.lineno)}: {ast.unparse(node)}")
    assert not wrong


def test_nothing_reads_or_writes_pickles_but_the_command_that_converts_them():
    wrong = []
    for path in SOURCES:
        wrong += [f"{place(path, line)}: {name}" for line, name in imports_of(path) if name.endswith("pickle")]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        restricted = [
            call.func
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and "weights_only=True" in map(ast.unparse, call.keywords)
        ]
        for node in ast.walk(tree):
            if module_name(path) == "srmu.job.convert" and node in restricted:
                continue
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save"}:
                wrong.append(f"{place(path, node.lineno)}: {ast.unparse(node)}")
    assert not wrong


def test_annotations_are_not_deferred():
    # jaxtyping's checks need annotations as objects.
    wrong = [place(path, line) for path in SOURCES for line, name in imports_of(path) if name == "__future__"]
    assert not wrong


def inner_functions(node, inside=False):
    """Every function that is defined inside of another one."""
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and inside:
            yield child
        yield from inner_functions(child, inside or is_function)


def has_shape(function):
    """Whether an annotation of the function names a type of jaxtyping, or an alias of one in objective.tensors."""
    shapes = {"Float", "Int", "Bool", *(name for name in vars(tensors) if name[0].isupper())} - {"Tensor"}
    annotations = [node.annotation for node in ast.walk(function.args) if isinstance(node, ast.arg)]
    named = [node for found in (*annotations, function.returns) if found for node in ast.walk(found)]
    return any(isinstance(node, ast.Name) and node.id in shapes for node in named)


def test_functions_inside_functions_have_no_shapes():
    # Tests do not check them there (typecheck.py).
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    inner = [(path, function) for path, tree in trees.items() for function in inner_functions(tree)]
    assert [place(path, function.lineno) for path, function in inner if has_shape(function)] == []
    # The same search finds the shapes of functions that are checked.
    everywhere = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert sum(map(has_shape, everywhere)) > 20


IMPORT_EACH = """
import importlib, sys
import torch, transformers
failed = []
for name in sys.argv[1:]:
    for loaded in [m for m in sys.modules if m.split(".")[0] == "srmu"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        failed.append(f"{name}: {type(error).__name__}: {error}")
sys.exit("; ".join(failed) or 0)
"""


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    environment = {"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_each_module_imports_by_itself():
    names = [module_name(path) for path in SOURCES]
    result = run_python(IMPORT_EACH, *names)
    assert result.returncode == 0, result.stderr


LIGHT = [
    name
    for name in ("srmu", "srmu.errors", "srmu.config.settings", "srmu.cli.app")
    if name in {module_name(path) for path in SOURCES}
]


@pytest.mark.parametrize("name", LIGHT)
def test_an_import_that_must_be_instant_loads_neither_torch_nor_transformers(name):
    code = """
import importlib, sys
importlib.import_module(sys.argv[1])
sys.exit(" ".join(name for name in sys.argv[2:] if name in sys.modules) or 0)
"""
    result = run_python(code, name, "torch", "transformers", "numpy", "matplotlib", "datasets")
    assert result.returncode == 0, f"{name} loads {result.stderr}"


# Sizes

MOST_ENTRIES, MOST_LINES, MOST_FUNCTION_LINES = 16, 350, 60
# To be cut; nothing may be added here.
STILL_LONGER: set[str] = set()


def lines_of(function):
    """The lines of a function without those of its documentation, which no function can have too many of."""
    documentation = function.body[0] if ast.get_docstring(function) else None
    documented = documentation.end_lineno - documentation.lineno + 1 if documentation else 0
    return function.end_lineno - function.lineno + 1 - documented


def test_the_package_has_few_entries():
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_no_module_and_no_function_is_too_long():
    too_long = {}
    for path in SOURCES:
        name = str(path.relative_to(PACKAGE.parent))
        text = path.read_text(encoding="utf-8")
        too_long[name] = len(text.splitlines()) - MOST_LINES
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                too_long[f"{name}:{node.name}"] = lines_of(node) - MOST_FUNCTION_LINES
    assert [name for name, over in too_long.items() if over > 0 and name not in STILL_LONGER] == []
    # The same count finds functions near the limit.
    assert max(too_long.values()) > -20
