"""``diffident generate``: samples that a guard trusts; the others withheld, with the reasons."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..guard import Guard, Served
    from ..model import Model
    from ..recipes import Recipe
    from ..report.served import Frame

ROWS = "generated.csv"

COLUMNS = ("path", "request", "seed", "tries", "decision", "score", "p_value", "reason", "because")

#: A pipeline of diffusers has this file.
PIPELINE = "model_index.json"


@click.command("generate", short_help="Make samples; release what can be trusted, withhold the rest with reasons.")
@click.argument("model", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="A new folder: the released pictures and generated.csv; of --unreviewed the trial.")
@click.option("-n", "--count", type=click.IntRange(min=1), default=64, show_default=True, help="How many requests are served.")
@click.option("--unreviewed", is_flag=True, help="Make a trial: every sample, none withheld, and a labels.csv to be filled in with good or bad.")
@click.option("--trial", default=None, type=click.Path(), help="A trial of this model, whose labels say what fails; without labels only --withhold is bounded.")
@click.option("--risk", type=float, default=None, help="Of what is released, at most this share fails. Needs a trial with labels.")
@click.option("--confidence", type=float, default=None, help="That the bound on --risk holds, over trials. Default: .9.")
@click.option(
    "--withhold", type=float, default=None, help="At most this share of requests is withheld; with labels, of those that could be served. Default: .05."
)
@click.option("--tries", type=click.IntRange(min=1), default=None, help="Samples made for a request, with fresh seeds, before it is withheld. Default: 1.")
@click.option("--early", type=float, default=None, help="Give hopeless samples up half-way; at most this share of the good ones. Default: none.")
@click.option("--wishes", default=None, type=click.Path(), help="A text file, a wish on each line, drawn from by chance: prompts of a pipeline, kinds.")
@click.option("--solver", type=click.Choice(["ddim", "ddpm", "heun"]), default=None, help="Of a model of our own. Default: ddim.")
@click.option("--steps", type=click.IntRange(min=1), default=None, help="Of the sampler, or of the pipeline. Default: 50, or the pipeline's own.")
@click.option("--recipe", default=None, help="What is read off a sample. Default: introspection; of a pipeline introspection-path.")
@click.option("--seed", type=int, default=None, help="Of all that is made. Default: a fresh one, which is told.")
@click.option("--report", default=None, type=click.Path(), help="An .html page: the released, the withheld with reasons, a film strip of each.")
@click.option("--keep", default=None, type=click.Path(), help="A folder for the fitted guard: give it as MODEL and leave out --trial.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    model: str,
    out: str,
    count: int,
    unreviewed: bool,
    trial: str | None,
    risk: float | None,
    confidence: float | None,
    withhold: float | None,
    tries: int | None,
    early: float | None,
    wishes: str | None,
    solver: str | None,
    steps: int | None,
    recipe: str | None,
    seed: int | None,
    report: str | None,
    keep: str | None,
    as_json: bool,
) -> None:
    """Make samples with MODEL (a model's folder, a guard's, or a pipeline of diffusers) and release those that can be trusted.

    \b
    1. diffident generate MODEL -n 500 -o trial --unreviewed      look at trial/samples, fill in trial/labels.csv
    2. diffident generate MODEL --trial trial -n 64 -o out --risk 0.05 --report page.html

    What is withheld is not written; generated.csv and the report say why. Rows and pictures are written as they come.
    """
    import secrets

    from ..report.page import writable
    from ..trial import empty

    if unreviewed and (trial or report or keep):
        raise click.UsageError("--unreviewed makes a trial, which withholds nothing; leave out --trial, --report and --keep")
    place, page = empty(out), writable(report) if report else None
    policy = {"risk": risk, "confidence": confidence, "withhold": withhold, "tries": tries, "early": early}
    guard = _guard(model, trial, policy, solver, steps, recipe, unreviewed)
    wished, root = _wishes(wishes), secrets.randbits(32) if seed is None else seed
    if unreviewed:
        given = {"solver": solver, "steps": steps, "recipe": recipe, "tries": tries, "early": early, "wishes": wishes}
        return _tried(guard, wished, count, root, place, (model, out), given, as_json)
    if keep:
        guard.save(keep)
    frames, interrupted = _served(guard, wished, count, root, place, page is not None)
    _tell(guard, frames, count, root, {"out": out, "report": report, "guard": keep}, as_json, interrupted)
    if interrupted:
        raise KeyboardInterrupt


def _tried(guard: Guard, wishes: list[str] | None, count: int, seed: int, place: Path, named: tuple[str, str], given: dict[str, Any], as_json: bool) -> None:
    """Make a trial and say what comes next, with the flags that the trial was made with."""
    with _show.Interruption() as stop:
        made = guard.trial(wishes, count, place, seed, _show.stoppable(stop))
    (model, out), more = named, "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    told = {"trial": out, "requests": len(made), "samples": len(made.scores), "seed": seed}
    then = f"diffident generate {model} --trial {out} -n 64 -o OUT --risk 0.05{more}"
    next_ = f"next: write good or bad beside each sample in {place / 'labels.csv'}, then: {then}"
    _show.summary(told, as_json, [f"{len(made.scores)} samples of {len(made)} requests written to {out} (seed {seed})", next_])


def _guard(model: str, trial: str | None, policy: dict[str, Any], solver: str | None, steps: int | None, recipe: str | None, unreviewed: bool) -> Guard:
    """The guard of a folder, fitted unless a trial is to be made."""
    from ..errors import InvalidSetting, NotCalibrated
    from ..folder import read_folder
    from ..guard import Guard
    from ..release import Release

    given = {name: value for name, value in policy.items() if value is not None}
    pipeline = (Path(model) / PIPELINE).is_file()
    kept = None if pipeline else read_folder(_placed(model)).get("guard")
    if kept and not unreviewed and trial is None:
        if given or solver or recipe or (steps and not kept.get("pipeline")):
            raise click.UsageError(f"{model} is a fitted guard, and its policy and sampler are part of what it promises; give a --trial to change them")
        return _kept(model, kept, steps)
    release = Release(**given)
    made = _of_pipeline(model, release, recipe, solver, steps) if pipeline else Guard(model, release, recipe, sampler=_sampler(solver, steps))
    if made.generator.model is not None and not made.generator.model.modality.gridded:
        raise InvalidSetting(f"{model} makes rows of a table and no pictures; use it from Python: dd.Guard(dd.load({model!r}))")
    if unreviewed:
        return made
    if trial is None:
        raise NotCalibrated(
            f"nothing is known of what {model} makes, so nothing can be promised; make a trial first: diffident generate {model} -n 500 -o trial --unreviewed, "
            "fill in trial/labels.csv, and give it with --trial trial"
        )
    return made.fit(trial)


def _placed(model: str) -> Path:
    from ..folder import placed

    return placed(model)


def _sampler(solver: str | None, steps: int | None) -> Any:
    from ..levels import cosine
    from ..walks import Sample

    return Sample(solver or "ddim", cosine(steps or 50))


def _of_pipeline(folder: str, release: Any, recipe: str | None, solver: str | None, steps: int | None) -> Guard:
    from ..guard import Guard
    from ..recipes import recipe as recipe_of

    if solver is not None:
        raise click.UsageError(f"{folder} is a pipeline, which has a scheduler of its own; leave out --solver")
    pipe, model, arguments = _pipeline(folder, None if recipe is None else recipe_of(recipe), steps)
    return Guard(pipe, release, recipe, model=model, arguments=arguments)


def _kept(folder: str, said: dict[str, Any], steps: int | None) -> Guard:
    """The fitted guard of a folder, with the pipeline that it names; the steps of a pipeline are given again, and other ones are refused."""
    from ..guard import Guard
    from ..recipes import recipe_from

    if not said.get("pipeline"):
        return Guard.load(folder)
    pipe, model, arguments = _pipeline(said["pipeline"], recipe_from(said["recipe"]), steps)
    return Guard.load(folder, pipe, model=model, arguments=arguments)


def _pipeline(folder: str, recipe: Recipe | None, steps: int | None) -> tuple[Any, Model | None, dict[str, Any]]:
    """A pipeline, what is asked about its samples if the recipe asks, and the arguments of its calls."""
    from ..adapters import diffusers as adapter
    from ..networks.of_diffusers import library

    pipe = library().DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    asks = recipe is not None and any(one.walk.evaluations for one in recipe.readings)
    return pipe, adapter.model(pipe, folder=folder) if asks else None, {"num_inference_steps": steps} if steps else {}


def _wishes(file: str | None) -> list[str] | None:
    from ..errors import NoItems

    if file is None:
        return None
    try:
        lines = [line.strip() for line in Path(file).read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise NoItems(f"cannot read wishes from {file} ({error}); give a text file with one on each line") from error
    if not any(lines):
        raise NoItems(f"{file} holds no wishes; write one on each line")
    return [line for line in lines if line]


def _served(guard: Guard, wishes: list[str] | None, count: int, seed: int, place: Path, pages: bool) -> tuple[list[Frame], bool]:
    """Serve the requests, writing what is released as it comes; whether it was interrupted."""
    from ..report.served import FILMS, frame
    from ..rows import RowWriter

    place.mkdir(parents=True, exist_ok=True)
    frames, shown = [], Counter()
    with _show.Interruption() as stop, RowWriter(place / ROWS, COLUMNS) as rows:
        for i, served in enumerate(_show.bar(guard.generate(wishes, count, seed), "generating", count)):
            path = ""
            if served.item is not None:
                path = f"{i + 1:04d}.png"
                guard.generator.picture(served.attempts[-1].output).save(place / path)
            rows.write(_row(served, path))
            shown[served.item is None] += 1
            frames.append(frame(guard, served, pages and shown[served.item is None] <= FILMS))
            if stop.asked:
                break
    return frames, stop.asked


def _row(served: Served, path: str) -> dict[str, Any]:
    verdict = served.verdict
    first = {"path": path, "request": served.request.label, "seed": served.attempts[-1].seed if served.attempts else "", "tries": len(served.attempts)}
    decision = {"accept": "release", "flag": "withhold", "abstain": "abstain"}[verdict.decision]
    return first | {"decision": decision, "score": verdict.score, "p_value": verdict.p, "reason": verdict.reason, "because": verdict.because}


def _tell(guard: Guard, frames: Sequence[Frame], count: int, seed: int, written: dict[str, str | None], as_json: bool, interrupted: bool) -> None:
    from ..report.page import write
    from ..report.served import WORDS, page

    note = f"Interrupted: {len(frames)} of {count} requests were served." if interrupted else ""
    if written["report"]:
        write(Path(written["report"]), page(guard, frames, count, note).encode())
    counts = Counter(one.served.verdict.decision for one in frames)
    drifted = guard.drift is not None and guard.drift.alarm
    facts = {
        "requests": len(frames),
        **{word: counts[decision] for decision, word in WORDS.items()},
        "promise": guard.promise,
        "drift": drifted,
        "seed": seed,
        **written,
    }
    withheld = [f"  {one.served.verdict.name}: {one.served.verdict.because}" for one in frames if one.served.item is None][:5]
    lines = [
        ", ".join(f"{counts[decision]} {word}" for decision, word in WORDS.items() if counts[decision]) + f" (seed {seed})",
        guard.promise,
        *withheld,
        *(["the stream has drifted since the trial: the promise may no longer hold; make a new one"] if drifted else []),
        *(f"{what} written to {where}" for what, where in written.items() if where),
    ]
    _show.summary(facts, as_json, lines)
