"""What people read is true: examples in docstrings, blocks in pages, generated pages, example files, help."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import diffident
from diffident import registry, statistics
from diffident.cli import main
from diffident.errors import MissingPackage
from scripts import make_docs

ROOT = Path(__file__).parents[1]
MODULES = [module.name for module in pkgutil.walk_packages(diffident.__path__, "diffident.") if not module.name.endswith("__main__")]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted((ROOT / "docs").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FLAGS = doctest.ELLIPSIS
VERBS = ("explain", "fit", "generate", "list", "score", "test", "train")


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)]


def the_same(found: str, expected: str, where: str) -> None:
    """Line for line, but for what an ellipsis stands for."""
    assert doctest.OutputChecker().check_output(expected, found, FLAGS), f"{where}\nexpected:\n{expected}\nfound:\n{found}"


def told(run: object, *arguments: object) -> str:
    """What a function prints, on either stream."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        run(*arguments)
    return out.getvalue()


def typed(line: str) -> str:
    """What a command prints that is typed at a prompt; it must succeed."""

    def run() -> None:
        with pytest.raises(SystemExit) as left:
            main(shlex.split(line, comments=True)[1:])
        assert left.value.code == 0, f"{line} left with {left.value.code}"

    return told(run)


def walk_through(page: Path) -> int:
    """Run the blocks of a page in order, compare what they print with what the page says, and count what was run."""
    done, space, found = 0, {"__name__": "page"}, blocks(page)
    for block, following in zip(found, [*found[1:], Block("", "")], strict=True):
        if block.language == "python":
            said = told(exec, compile(block.text, page.name, "exec"), space)
            done += 1
            if following.language == "text":
                the_same(said, following.text, block.text)
        elif block.language in ("console", "sh"):
            for line, expected in commands(block):
                said = typed(line)
                done += 1
                if block.language == "console":
                    the_same(said, expected, line)
    return done


def commands(block: Block) -> list[tuple[str, str]]:
    """Lines of ours with the output that a console block shows; a sh block shows none."""
    if block.language == "sh":
        return [(line, "") for line in block.text.splitlines() if line.startswith("diffident ")]
    typed_and_shown = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not typed_and_shown[0], "a console block begins with a command"
    return [tuple(part.split("\n", 1)) for part in typed_and_shown[1:]]


def doctested(text: str, space: dict, where: str) -> int:
    test = doctest.DocTestParser().get_doctest(text, space, where, where, 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    report = io.StringIO()
    runner.run(test, out=report.write)
    assert not runner.failures, report.getvalue()
    return runner.tries


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder from which the examples can be reached, as from the root of the project."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", MODULES)
def test_every_example_in_a_module_is_true(name: str) -> None:
    report = io.StringIO()
    try:
        module = importlib.import_module(name)
    except MissingPackage as refusal:
        pytest.skip(str(refusal))
    with contextlib.redirect_stdout(report):
        failed = doctest.testmod(module).failed
    assert not failed, report.getvalue()


@pytest.mark.parametrize("name", registry.names("statistics"))
def test_every_statistic_has_an_example_and_it_is_true(name: str) -> None:
    thing = statistics.find(name)  # an instance: the examples of its function are not seen from the module
    assert doctested(thing.doc, dict(vars(sys.modules[thing.read.__module__])), name) > 0


def test_the_readme_runs_as_it_stands(workshop: Path) -> None:
    assert walk_through(ROOT / "README.md") >= 3
    header = (workshop / "scores.csv").read_text().splitlines()[0].split(",")
    assert header == (workshop / "delivery.csv").read_text().splitlines()[0].split(",")
    named = re.findall(r"^\| `(\w+)` \| ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert header[: len(named)] == named, "the README names the fixed columns, in order"


def test_the_first_hour_runs_as_it_stands(workshop: Path) -> None:
    assert walk_through(ROOT / "docs" / "tutorial.md") >= 10


def test_the_page_of_adapters_runs_as_it_stands(workshop: Path) -> None:
    assert walk_through(ROOT / "docs" / "adapters.md") >= 2


def test_the_page_of_models_runs_as_it_stands(workshop: Path) -> None:
    pytest.importorskip("diffusers", reason="the page makes a model of diffusers: pip install 'diffident[diffusers]'")
    assert walk_through(ROOT / "docs" / "models.md") >= 2


def test_a_page_that_says_something_else_is_caught(workshop: Path) -> None:
    page = workshop / "page.md"
    page.write_text("```python\nprint(2)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"expected:\s+3\s+found:\s+2"):
        walk_through(page)
    page.write_text("```console\n$ diffident list spaces\nlatents  The codes of an autoencoder.\n```\n")
    with pytest.raises(AssertionError, match=r"found:\s+activations .*\s+features"):
        walk_through(page)


def of_contributing() -> tuple[str, str, str, str]:
    """The statistic of CONTRIBUTING, the block that checks it, what that prints, and the announcement of another package."""
    found = blocks(ROOT / "CONTRIBUTING.md")
    new, check = [block.text for block in found if block.language == "python"]
    assert "\n@statistic(" in new and "checks(" in check
    return new, check, *(next(block.text for block in found if block.language == language) for language in ("text", "toml"))


#: runs in a process of its own, where the new statistic is; prints where the library is, the list, what the checks print, how many examples ran
STRANGER = """
import doctest, sys, diffident
from diffident import statistics
from diffident.cli import main
print(diffident.__file__)
try:
    main(["list", "statistics"])
except SystemExit:
    pass
print("---")
exec(sys.argv[1])
print("---")
thing = statistics.find("change_of_mind")
runner = doctest.DocTestRunner()
runner.run(doctest.DocTestParser().get_doctest(thing.doc, dict(vars(sys.modules[thing.read.__module__])), thing.name, None, 0))
print(thing.read.__module__, runner.tries, runner.failures)
"""


def met_by_a_stranger(path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", STRANGER, of_contributing()[1]]
    return subprocess.Popen(command, env=environment, cwd=path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def announce(place: Path) -> None:
    """Another package as an installer leaves it: the code, and a dist-info folder with its entry points."""
    new, _, _, toml = of_contributing()
    (place / "minds").mkdir(parents=True)
    (place / "minds" / "__init__.py").touch()
    (place / "minds" / "change_of_mind.py").write_text(new)
    groups = tomllib.loads(toml)["project"]["entry-points"]
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))]
    info = place / "minds-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: minds\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def test_a_new_statistic_is_one_file_here_or_in_another_package(tmp_path: Path) -> None:
    new, _, checked, _ = of_contributing()
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "src" / "diffident", copy / "diffident", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "diffident" / "statistics" / "change_of_mind.py").write_text(new)
    announce(tmp_path / "other")
    started = {place: met_by_a_stranger(tmp_path / place) for place in ("copy", "other")}
    for place, home in (("copy", "diffident.statistics.change_of_mind"), ("other", "minds.change_of_mind")):
        said, _ = started[place].communicate(timeout=120)
        listed, checks, examples = said.split("---\n")
        assert listed.startswith(str(copy)) == (place == "copy"), said
        assert re.search(r"^change_of_mind +How much the model's answer moves", listed, re.MULTILINE) and "residual" in listed
        assert checks == checked and examples == f"{home} 5 0\n"


def test_the_generated_pages_are_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in make_docs.pages().items() if not path.exists() or path.read_text("utf-8") != text]
    assert not stale, f"out of date: {', '.join(stale)}; run: python scripts/make_docs.py"


def test_the_generated_pages_leave_nothing_out() -> None:
    text = {path.stem: path.read_text("utf-8") for path in PAGES}
    assert all(f"\n## `{name}`\n" in text["statistics"] for name in registry.names("statistics"))
    assert all(f"\n| `{name}` |" in text["recipes"] for name in registry.names("recipes"))
    assert all(f"\n- **{name}**" in text["words"] for name in diffident.__all__ if name[0].isupper())


def test_examples_in_generated_pages_are_true() -> None:
    assert sum(doctested(block.text, {}, "recipes") for block in blocks(ROOT / "docs" / "recipes.md")) > 0


def test_help_is_as_the_page_says_and_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom diffident.cli import main\n"
        "for verb in sys.argv[1:]:\n    try:\n        main([*verb.split(), '--help'])\n    except SystemExit as left:\n        assert left.code == 0\n"
        "    print('~~~')\nprint(sorted({'torch', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "", *VERBS]
    said = subprocess.run(command, env={**os.environ, "COLUMNS": "110"}, capture_output=True, text=True, check=True).stdout
    *helps, heavy = said.split("~~~\n")
    assert heavy == "[]\n", "a help page has imported something heavy"
    shown = [block.text for block in blocks(ROOT / "docs" / "commands.md")]
    assert shown == helps, "run: python scripts/make_docs.py"


SAYS = {
    "first_decision": r"At most 1 % of good items .*flag: 24\n.*stranger than 99 of 99 references",
    "own_scores": r"flag: +10, of them strange: 10\n.*10 called, 0 of them good",
    "explain_one": r"item_023.png: flag .*than 99 of 99 references.*nearest known-good: boot_.*explain.png: \d+ x \d+ pixels\npage.html: 80 items",
    "sklearn_pipeline": r"labelled -1: 0\.0[3-7]\d of the good rows, 0\.[67]\d\d .*p <= 0\.01: 0\.0[01]\d of the good.*99 rows held out of 257",
    "guard": r"fail\nOf what is released, .*at most 10 % fails, with 90 % confidence.*1\d\d of 200 requests served, \d of them fail\n",
    "batch_with_fdr": r"fdr 0\.1: 29 flagged, 0 of them good\n.*fdr 0\.005: cannot bound false discoveries",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_every_example_is_short_and_says_something(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert len(example.read_text().splitlines()) < 60
    said = told(runpy.run_path, str(example.relative_to(ROOT)), {}, "__main__")
    assert re.search(SAYS[example.stem], said, re.DOTALL), said


def test_scores_of_others_are_calibrated_without_torch() -> None:
    code = "import runpy, sys; runpy.run_path('examples/own_scores.py', run_name='__main__'); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []
