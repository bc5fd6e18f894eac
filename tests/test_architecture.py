"""The house stands as drawn: dependencies run downward, files and functions are small, the face is light and true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import diffident

ROOT = Path(diffident.__file__).parent

#: the floor on which each room lies; a room may use its own floor and those below
FLOORS = [
    {"errors", "registry", "hardware"},
    {"trajectory", "denoiser", "positions", "patches", "texture", "kinds", "levels", "noise", "networks", "weights"},
    {"precondition", "steps", "variations", "spaces", "tiles"},
    {"walks", "probes"},
    {"statistics", "laplace"},
    {"calibration", "scores", "rows", "regions", "verdict", "release", "recipes"},
    {"data", "modalities", "pipelines", "folder", "model", "references", "store", "witness", "gallery", "evaluate", "checkpoint", "optimise", "settings"},
    {
        "scorer",
        "mosaic",
        "detector",
        "requests",
        "generators",
        "introspection",
        "trial",
        "policing",
        "guard",
        "teaching",
        "learning",
        "lessons",
        "assessment",
        "testing",
    },
    {"adapters"},
    {"cli", "service", "web", "report"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: rooms that must not know torch, directly or through another room
WITHOUT_TORCH = {"errors", "registry", "levels", "calibration", "scores", "rows", "regions", "verdict", "release", "data", "evaluate", "folder", "gallery"}

FILES = sorted(ROOT.rglob("*.py"))


def room(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").parts[0]


def imports(file: Path) -> set[str]:
    """Rooms that a file imports, those inside functions too."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            found |= {base[0]} if base else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "diffident":
            found.add((node.module or "").partition(".")[2].split(".")[0] or node.names[0].name)
    return found - {room(file), "__init__"}


@pytest.mark.parametrize("file", [f for f in FILES if f.name != "__init__.py" or f.parent != ROOT], ids=lambda f: str(f.relative_to(ROOT)))
def test_dependencies_run_downward(file: Path) -> None:
    here = FLOOR[room(file)]
    upward = {other: FLOOR[other] for other in imports(file) if FLOOR[other] > here}
    assert not upward, f"{file.name} on floor {here} uses {upward}"


def test_no_room_depends_on_itself_through_others() -> None:
    uses = {name: set() for name in FLOOR}
    for file in FILES:
        if file.parent != ROOT or file.name != "__init__.py":
            uses[room(file)] |= imports(file)

    def reached(start: str) -> set[str]:
        seen, wave = set(), uses[start]
        while wave:
            seen |= wave
            wave = set().union(*(uses[name] for name in wave)) - seen
        return seen

    assert [name for name in uses if name in reached(name)] == []


def test_judging_knows_nothing_of_torch() -> None:
    for name in WITHOUT_TORCH:
        code = f"import diffident.{name}, sys; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0, f"diffident.{name} imports torch"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_files_and_functions_are_small_and_say_what_they_are_for(file: Path) -> None:
    text = file.read_text()
    tree = ast.parse(text)
    assert text.count("\n") < 400
    assert ast.get_docstring(tree), f"{file} does not say what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert length <= 45, f"{file.name}: {node.name} has {length} lines"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_house_rules_hold(file: Path) -> None:
    tree = ast.parse(file.read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert not {n for n in names if n.startswith("Base") or n.endswith(("Manager", "Engine", "Helper"))}
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Assert)], "assert belongs to tests; raise a DiffidentError"
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not imported & {"pickle", "torchvision", "lightning", "pandas", "diffusers", "joblib"}


def test_the_plan_draws_the_floors_as_they_are() -> None:
    plan = (ROOT.parents[1] / "docs" / "design.md").read_text()
    for number, rooms in enumerate(FLOORS):
        line = next(line for line in plan.splitlines() if line.startswith(f" {number}  "))
        assert set(re.findall(r"[a-z]+", re.sub(r"\([^)]*\)", "", line))) == rooms, line


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert sorted(diffident.__all__) == diffident.__all__
    for name in diffident.__all__:
        assert getattr(diffident, name).__module__.startswith("diffident."), name


def test_the_stub_names_what_the_package_offers() -> None:
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    typed = {alias.asname or alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(diffident.__all__)


def test_importing_the_package_is_light() -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'PIL', 'sklearn', 'click'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", f"import diffident, sys; sys.exit(bool({heavy}))"]).returncode == 0


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        diffident.Detektor  # noqa: B018
