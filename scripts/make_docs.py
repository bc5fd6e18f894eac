"""Writes the pages that the program itself can tell: statistics, recipes, command help, errors, and the figures of the README.

    python scripts/make_docs.py            write them
    python scripts/make_docs.py --check    name those that are out of date; exit status 1 if there are any

Words come from docstrings and figures from benchmarks/results, so a page is changed by changing its source.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from diffident import errors, registry
from diffident.cli import commands
from diffident.recipes import Recipe
from diffident.statistics import Statistic
from diffident.walks import Walk

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MADE = "<!-- made by scripts/make_docs.py; do not edit -->\n\n"
FIGURES = ("<!-- figures: made by scripts/make_docs.py -->\n", "<!-- end of figures -->")
WIDTH = 110  # of help pages: what a wide terminal shows

TAILS = {"upper": "larger is stranger", "lower": "smaller is stranger", "both": "far from the references either way is stranger"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the generated pages of the documentation.")
    parser.add_argument("--check", action="store_true", help="only name the pages that are out of date")
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    if parser.parse_args().check:
        print("\n".join(str(path.relative_to(ROOT)) for path in stale) or "all pages are current")
        sys.exit(bool(stale))
    for path in stale:
        path.write_text(pages()[path], "utf-8")
        print(f"written: {path.relative_to(ROOT)}")


def pages() -> dict[Path, str]:
    """Every generated page, whole."""
    readme, docs = ROOT / "README.md", ROOT / "docs"
    made = {"statistics": statistics_page(), "recipes": recipes_page(), "commands": commands_page(), "errors": errors_page()}
    return {docs / f"{name}.md": MADE + text for name, text in made.items()} | {readme: with_figures(readme.read_text("utf-8"))}


def statistics_page() -> str:
    found = {name: registry.find("statistics", name) for name in registry.names("statistics")}
    first = "# Statistics\n\nA statistic is a number read off a trajectory, one file each in `src/diffident/statistics`. A recipe names those that it reads.\n"
    return "\n".join([first, *(statistic_section(thing) for thing in found.values() if isinstance(thing, Statistic))])


def statistic_section(thing: Statistic) -> str:
    facts = [
        ("tail", f"`{thing.tail}`: {TAILS[thing.tail]}"),
        ("says", f"it {thing.says}"),
        ("gives", "a map; its number is the mean over elements" if thing.per_element else "numbers, no map"),
        ("needs", needs(thing)),
        ("cost beyond its walk", cost(thing)),
        ("settings", ", ".join(f"`{name}={value!r}`" for name, value in settings(thing).items()) or "none"),
        ("world in which it is checked", f"`{thing.world}`"),
        ("recipes", ", ".join(f"`{name}`" for name in registry.names("recipes") if reads(name, thing)) or "none yet"),
    ]
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts)
    return f"## `{thing.name}`\n\n{markdown(thing.doc)}\n\n| | |\n|---|---|\n{rows}\n"


def needs(thing: Statistic) -> str:
    asked = [f"the probe `{probe.name}`" for probe in thing.probes] + ([f"{thing.draws} noise draws per level"] if thing.draws > 1 else [])
    return ", ".join(asked) or "a walk, nothing else"


def cost(thing: Statistic) -> str:
    return ", ".join(f"{probe.cost} a look" for probe in thing.probes) or "none"


def settings(thing: Statistic) -> dict[str, Any]:
    return {name: one.default for name, one in inspect.signature(thing.read).parameters.items() if one.kind is one.KEYWORD_ONLY}


def reads(name: str, thing: Statistic) -> bool:
    recipe = registry.find("recipes", name)
    return isinstance(recipe, Recipe) and any(reading.statistic == thing.name for reading in recipe.readings)


def markdown(doc: str) -> str:
    """A docstring as Markdown: its examples fenced, its literals in single back-ticks."""
    paragraphs = inspect.cleandoc(doc).replace("``", "`").split("\n\n")
    return "\n\n".join(f"```pycon\n{one}\n```" if one.startswith(">>>") else one for one in paragraphs)


def recipes_page() -> str:
    first = "# Recipes\n\nA recipe is a published method, written down as data: which walks are run, what is read off them, how many numbers become one.\n"
    head = "| recipe | readings | combined by | network evaluations | Jacobian products | source |\n|---|---|---|---|---|---|"
    rows = [recipe_row(registry.find("recipes", name)) for name in registry.names("recipes")]
    note = "Costs are per item; walks have their default settings otherwise. Choose one with `diffident train ... --recipe NAME`, or write your own:"
    return "\n".join([first, head, *rows, "", note, "", OWN, "", "## Walks", "", *walk_lines()]) + "\n"


OWN = """```pycon
>>> from diffident import Reading, Recipe
>>> from diffident.walks import Encode, Renoise
>>> both = Recipe("both", (Reading(Renoise(), "residual"), Reading(Encode(), "landing")))
>>> print(both.cost)
13 evaluations, 0 Jacobian products
```"""


def recipe_row(recipe: Any) -> str:
    readings = "; ".join(f"`{reading.label}`{chosen(reading.settings)} on {walk_name(reading.walk)}" for reading in recipe.readings)
    return f"| `{recipe.name}` | {readings} | `{recipe.combine}` | {recipe.cost.evaluations} | {recipe.cost.products} | {recipe.source} |"


def chosen(of: Any) -> str:
    return f" ({', '.join(f'`{name}={value!r}`' for name, value in of.items())})" if of else ""


def walk_name(walk: Walk) -> str:
    return f"`{type(walk).__name__}`" if walk.recorded else f"`{type(walk).__name__}` at {len(walk.levels)} levels"


def walk_lines() -> list[str]:
    return [f"- `{registry.find('walks', name).__name__}`: {first_sentence(registry.find('walks', name))}" for name in registry.names("walks")]  # type: ignore[attr-defined]


def first_sentence(thing: object) -> str:
    return " ".join(inspect.cleandoc(thing.__doc__ or "").replace("``", "`").split("\n\n")[0].split("\n"))


def commands_page() -> str:
    first = "# Commands\n\nWhat `--help` prints, at a width of 110 columns.\n"
    return "\n".join([first, *(f"## `{name}`\n\n```text\n{text}```\n" for name, text in helps().items())])


def helps() -> dict[str, str]:
    """The help of the program and of every verb, as a terminal shows it."""
    verbs = commands.list_commands(click.Context(commands))
    return {" ".join(["diffident", *verb]): help_of(verb) for verb in [[], *([verb] for verb in verbs)]}


def help_of(verb: list[str]) -> str:
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        commands.main([*verb, "--help"], prog_name="diffident", standalone_mode=False, terminal_width=WIDTH - 2)
    return told.getvalue()


def errors_page() -> str:
    intro, _, tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")
    sections = [f"- `{name}`: {first_sentence(kind)}" for name, kind in vars(errors).items() if isinstance(kind, type)]
    return f"# Errors\n\n{intro}\n\n```text\n{tree}\n```\n\nEach in a sentence:\n\n" + "\n".join(sections) + "\n"


def with_figures(readme: str) -> str:
    """The README with its table of figures made again from the frozen results."""
    before, rest = readme.split(FIGURES[0])
    return before + FIGURES[0] + figures() + FIGURES[1] + rest.split(FIGURES[1])[1]


def figures() -> str:
    rows = [*kept_promises(), *first_figures(), *natural_splits(), *networks(), *inspection()]
    lines = [f"| {question} | {figure} | [{page}](benchmarks/results/{page}.md) |\n" for question, figure, page in rows]
    return "| question | figure | protocol and all figures |\n|---|---|---|\n" + "".join(lines)


def kept_promises() -> list[tuple[str, str, str]]:
    facts = result("guarantees")
    honest = [row for row in facts["honest"] if not row["cannot flag"]]
    wrong = next(row for row in facts["wrong"] if row["n"] == 100)
    power = next(row for row in facts["power"] if row["world"] == "independent")
    batch = next(row for row in facts["discoveries"] if row["p-values"].startswith("gaussian"))
    inside = sum(row["inside"] for row in honest)
    return [
        ("good items in exact worlds: rates within their limits", f"{inside} of {len(honest)} rows", "guarantees"),
        ("a wrong procedure (percentile of training scores) at .05, 100 references", f"{wrong['rate']:.3f}: caught", "guarantees"),
        (
            "power at .05, 64 references, 20 statistics: refitted with each item, against halves",
            f"{power['full conformal']:.3f} against {power['halves']:.3f}",
            "guarantees",
        ),
        (
            "batches of 1,000 with 10 % strange at a bound of .1: power, false discoveries",
            f"{batch['power']:.3f}, {batch['false discovery rate']:.3f}",
            "guarantees",
        ),
    ]


def first_figures() -> list[tuple[str, str, str]]:
    lines = []
    for place, methods in result("first_figures")["sets"].items():
        by = {row["method"]: row for row in methods}
        ours = by["reconstruction"]
        figure = f"{ours['AUROC']:.3f} ({ours['AUROC low']:.3f} to {ours['AUROC high']:.3f})"
        beside = f"pixel nearest neighbours {by['pixel_knn']['AUROC']:.3f}, PCA {by['pixel_pca']['AUROC']:.3f}, random {by['random']['AUROC']:.3f}"
        lines.append((f"{place}, one class against nine: AUROC of `reconstruction`, exact model", f"{figure}; {beside}", "first_figures"))
    return lines


def natural_splits() -> list[tuple[str, str, str]]:
    rows = [row for row in result("natural_split")["rows"] if row["recipe"] == "reconstruction" and row["level"] == 0.05]
    calm = [row for row in rows if row["inside"]]
    moved = [row for row in rows if not row["inside"]]
    said = ", ".join(f"{row['set']} {row['flagged']:.3f}" for row in calm)
    return [("good real images that `reconstruction` flags at .05, one natural split each", said, "natural_split")] + [
        (f"beyond what chance explains: {row['set']}, {row['part']}", f"**{row['flagged']:.3f}**: the good items changed", "natural_split") for row in moved
    ]


def networks() -> list[tuple[str, str, str]]:
    """A row for each kind of processor on which speed was measured."""
    lines = []
    for page in sorted(path.stem for path in RESULTS.glob("network_*.json")):
        facts = result(page)
        by = {row["network"]: row for row in facts["inference"] if row["precision"] == facts["precision"]}
        shares = " against ".join(f"{by[who]['share of peak']:.2f}" for who in ("ours", "diffusers"))
        faster = facts["training"]["ours"] / facts["training"]["diffusers"]
        figure = f"{shares}; training {facts['training']['ours']:.0f} images/s, {faster:.1f} times as many"
        lines.append((f"share of the measured convolution peak on {facts['kind']}, against diffusers' U-Net of as many parameters", figure, page))
    return lines


def inspection() -> list[tuple[str, str, str]]:
    lines = []
    rows = [row for row in result("first_inspection")["rows"] if row["of"] == "all"]
    for place in dict.fromkeys(row["set"] for row in rows):
        by = {row["method"]: row for row in rows if row["set"] == place}
        ours, control = by["reconstruction"], by["reconstruction, random weights"]
        figure = f"{ours['AUROC'][0]:.3f}, AUPRO {ours['AUPRO'][0]:.3f}; random weights {control['AUROC'][0]:.3f}, {control['AUPRO'][0]:.3f}"
        lines.append(
            (f"{place}: AUROC of `reconstruction`, a network of minutes", f"{figure}; pixel neighbours {by['pixel_knn']['AUROC'][0]:.3f}", "first_inspection")
        )
    return lines


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


if __name__ == "__main__":
    main()
