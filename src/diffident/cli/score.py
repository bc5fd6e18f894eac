"""``diffident score``: a decision for every item, with its p-value, and pictures of why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from ..data import Item, Items
    from ..detector import Detector
    from ..report.album import Album
    from ..report.maps import MapFolder
    from ..rows import RowWriter
    from ..scores import Scores
    from ..verdict import Policy, Verdict, Verdicts

#: How files of raw scores end.
KEPT = ".safetensors"

DECISIONS = {"accept": "accepted", "abstain": "abstained from", "flag": "flagged", "unreadable": "unreadable"}


@click.command("score", short_help="Decide about items: accept, abstain or flag, each with its p-value.")
@click.argument("model", type=click.Path())
@click.argument("items", type=click.Path())
@click.option("-o", "--out", default=None, type=click.Path(), help="A .csv, .json or .jsonl file for the rows.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: the model's own.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this. Default: the model's own.")
@_show.DEPTH
@click.option("--fdr", type=float, default=None, help="Decide about the whole batch: of the items flagged, at most this share is good on average.")
@click.option("--strangest", type=click.IntRange(min=0), default=5, show_default=True, help="How many of the strangest to name, and to show in a report.")
@click.option("--report", default=None, type=click.Path(), help="An .html page to look at: what was decided, and the strangest items with their maps.")
@click.option("--maps", default=None, type=click.Path(), help="A folder for a picture of each item, coloured where it is strange, of the name of the item.")
@click.option("--regions", default=None, type=click.Path(), help="A .csv, .json or .jsonl file for the marked regions: boxes in pixels of each picture.")
@click.option("--keep-scores", default=None, type=click.Path(), help="A .safetensors file for the raw scores: give it as ITEMS to decide again, at once.")
@_show.KIND
@_show.PRECISION
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    model: str,
    items: str,
    out: str | None,
    flag: float | None,
    abstain: float | None,
    depth: float | None,
    fdr: float | None,
    strangest: int,
    report: str | None,
    maps: str | None,
    regions: str | None,
    keep_scores: str | None,
    kind: str,
    precision: str,
    as_json: bool,
) -> None:
    """Decide about ITEMS (a folder, one file, or scores kept by --keep-scores) with MODEL.

    \b
    Columns: path, score (raw, larger is stranger), p_value, decision, reason, because, then each statistic
    and, where MODEL tells kinds apart, kind.
    Decisions: accept, abstain, flag; unreadable for an item that could not be read.

    Rows and maps are written as they come: an interrupted run keeps what it has, and its report shows what was judged.
    """
    if fdr is not None and (flag is not None or abstain is not None):
        raise click.UsageError("--fdr decides about the batch as a whole; leave out --flag and --abstain")

    from ..calibration import require_served
    from ..detector import Detector
    from ..rows import RowWriter
    from ..verdict import header

    kept = _kept(items, {"--report": report, "--maps": maps, "--regions": regions, "--keep-scores": keep_scores, "--kind": kind})
    detector = _show.deciding(Detector.load(model, precision), flag, abstain, depth)
    policy = detector.settled()
    if kept is not None:
        return _tell(_again(detector, kept, policy, fdr, out), {"rows": out}, strangest, as_json)
    opened = detector.opened(items, kind)
    if fdr is not None:
        require_served(len(opened), fdr, min(detector.calibrated.kinds.values()))  # before an earlier result is written over
    looking = _looking(detector, items, strangest, report, maps, regions, keep_scores, [item.name for item in opened])
    writer = RowWriter(out, header(tuple(detector.scorer.columns), detector.model.kinds)) if out else nullcontext()
    with writer as rows, looking.regions or nullcontext():
        if fdr is None:
            verdicts, interrupted = _one_by_one(detector, opened, policy, rows, looking)
        else:
            verdicts, interrupted = _as_a_batch(detector, opened, fdr, rows, looking)
    looking.report(verdicts, policy, fdr, items, f"Interrupted: {len(verdicts)} of {len(opened)} items were judged." if interrupted else "")
    looking.keep_scores()
    _tell(verdicts, {"rows": out, "report": report, "maps": maps, "regions": regions, "scores": keep_scores}, strangest, as_json)
    if interrupted:
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Looking:
    """What is made beside the rows: a page and maps to be looked at, a file of marked regions, raw scores to be judged again; any or none."""

    detector: Detector
    page: Path | None
    album: Album | None
    folder: MapFolder | None
    regions: RowWriter | None
    scores: Path | None
    parts: list[Scores] = field(default_factory=list)

    @property
    def maps(self) -> bool:
        """Whether maps are wanted and there can be any."""
        return bool((self.folder or self.album or self.regions) and self.detector.scorer.asked.mapped)

    def add(self, item: Item, verdict: Verdict) -> Verdict:
        """Take what is wanted of a verdict, and give it back without its map: thousands of maps would fill the memory."""
        if self.album is not None:
            self.album.add(item, verdict)
        if self.folder is not None:
            self.folder.add(item, verdict)
        if self.regions is not None and verdict.where is not None and verdict.judged:
            for region in verdict.where.regions:
                self.regions.write(region.row(item.name))
        return replace(verdict, where=None)

    def take(self, scores: Scores) -> None:
        """Take the raw scores of a chunk, if they are wanted."""
        if self.scores is not None:
            self.parts.append(scores)

    def keep_scores(self) -> None:
        """Write the raw scores, if they are wanted and there are any."""
        from ..scores import Scores

        if self.scores is not None and self.parts:
            Scores.merge(self.parts).save(self.scores)

    def report(self, verdicts: Verdicts, policy: Policy, fdr: float | None, source: str, note: str) -> None:
        """Write the page, if one is wanted."""
        from ..report.page import asked_of, asked_of_batch, findings, page, write

        if self.page is not None and self.album is not None:
            asked, level = (asked_of(policy), policy.flag or 0.0) if fdr is None else (asked_of_batch(fdr), math.nan)
            write(self.page, page(findings(self.detector, verdicts, self.album, asked, level, source, note)).encode())


def _looking(
    detector: Detector, items: str, strangest: int, report: str | None, maps: str | None, regions: str | None, scores: str | None, names: Sequence[str]
) -> Looking:
    """Refuses, before the work, what could not be written after it."""
    from ..errors import InvalidSetting
    from ..regions import COLUMNS
    from ..report.album import Album
    from ..report.maps import MapFolder
    from ..report.page import require_place, writable
    from ..rows import RowWriter

    if scores and Path(scores).suffix.lower() != KEPT:
        raise InvalidSetting(f"raw scores are kept in a file that ends in {KEPT}; got {scores}")
    page, place = writable(report) if report else None, require_place(Path(scores)) if scores else None
    if regions:
        detector.calibrated.require_places()
    marked = RowWriter(regions, COLUMNS) if regions else None
    return Looking(detector, page, Album(detector, strangest) if page else None, MapFolder(maps, detector, items, names) if maps else None, marked, place)


def _kept(items: str, flags: Mapping[str, str | None]) -> Scores | None:
    """The scores that ITEMS are, if they are a file of scores: then nothing can be asked of the items themselves."""
    from ..errors import InvalidSetting
    from ..scores import Scores

    if Path(items).suffix.lower() != KEPT or not Path(items).is_file():
        return None
    if asked := [flag for flag, value in flags.items() if value]:
        raise InvalidSetting(f"{items} holds scores and not the items they are of, so {' and '.join(asked)} cannot be served; leave out, or give the items")
    return Scores.load(items)


def _again(detector: Detector, scores: Scores, policy: Policy, fdr: float | None, out: str | None) -> Verdicts:
    """Verdicts on scores that were kept; the model is not asked, and nothing is written before it is known that they are its own."""
    from ..rows import RowWriter
    from ..verdict import header

    verdicts = detector.judge_all(scores, fdr, policy if fdr is None else None)
    with RowWriter(out, header(scores.columns, detector.model.kinds)) if out else nullcontext() as rows:
        _write(verdicts, rows)
    return verdicts


def _one_by_one(detector: Detector, items: Items, policy: Policy, rows: RowWriter | None, looking: Looking) -> tuple[Verdicts, bool]:
    """Every verdict as it comes, each written at once; and whether the run was interrupted."""
    from ..verdict import Verdicts

    verdicts = []
    with _show.Interruption() as stop:
        for item, verdict in _show.bar(_judged(detector, items, policy, looking), "scoring", len(items)):
            verdicts.append(looking.add(item, verdict))
            if rows is not None:
                rows.write(verdict.row())
            if stop.asked:
                break
    return Verdicts(tuple(verdicts), tuple(detector.scorer.columns), detector.promise(policy), detector.model.kinds), stop.asked


def _judged(detector: Detector, items: Items, policy: Policy, looking: Looking) -> Iterator[tuple[Item, Verdict]]:
    """Each item with its verdict; the scores of each chunk are taken on the way."""
    for part, scores, found in detector.stream(items, looking.maps, policy):
        looking.take(scores)
        for item, verdict, where in zip(part, detector.decide(scores, policy), found, strict=True):
            yield item, replace(verdict, where=where)


def _as_a_batch(detector: Detector, items: Items, fdr: float, rows: RowWriter | None, looking: Looking) -> tuple[Verdicts, bool]:
    """Verdicts on the batch as a whole, or on what was scored before an interruption: that is a batch too."""
    from ..scores import Scores

    parts, chunks = [], len(items) if detector.model.tiles is not None else -(-len(items) // detector.model.chunk)
    with _show.Interruption() as stop:
        for part, scores, found in _show.bar(detector.stream(items, looking.maps), "scoring", chunks):
            parts.append(scores)
            looking.take(scores)
            if looking.maps:  # their p-values are final already; the decisions come with the whole batch
                for item, verdict, where in zip(part, detector.decide(scores), found, strict=True):
                    looking.add(item, replace(verdict, where=where))
            if stop.asked:
                break
    verdicts = detector.judge_all(Scores.merge(parts), fdr=fdr)
    _write(verdicts, rows)
    return verdicts, stop.asked


def _write(verdicts: Verdicts, rows: RowWriter | None) -> None:
    if rows is not None:
        for verdict in verdicts:
            rows.write(verdict.row())


def _tell(verdicts: Verdicts, written: Mapping[str, str | None], strangest: int, as_json: bool) -> None:
    counts = Counter(verdict.decision for verdict in verdicts)
    first = verdicts.strangest(strangest)
    told = ", ".join(f"{counts[decision]} {word}" for decision, word in DECISIONS.items() if counts[decision])
    facts = {
        "items": len(verdicts),
        **{decision: counts[decision] for decision in DECISIONS},
        "promise": verdicts.promise,
        "out": written["rows"],
        **{what: written.get(what) for what in ("report", "maps", "regions", "scores")},
        "strangest": [{"path": v.name, "p_value": v.p, "decision": v.decision, "because": v.because} for v in first],
    }
    lines = [f"{len(verdicts)} {'item' if len(verdicts) == 1 else 'items'}: {told}", verdicts.promise]
    lines[1:1] = _declined(verdicts)
    lines += (
        ["", "the strangest (p is of all statistics together, beside it each by itself):", *(f"  {v.name}  {v}\n      {v.because}" for v in first)]
        if first
        else []
    )
    lines += ["", *places] if (places := [f"{what} written to {where}" for what, where in written.items() if where]) else []
    _show.summary(facts, as_json, lines)


def _declined(verdicts: Verdicts, most: int = 3) -> list[str]:
    """Why items were not decided about, in a line each: how often which reason, and the names of the unreadable."""
    reasons = Counter(verdict.reason.split(":")[0] for verdict in verdicts if verdict.decision == "abstain")
    lines = ["abstained: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())] if reasons else []
    names = [verdict.name for verdict in verdicts if verdict.decision == "unreadable"]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return lines + (["unreadable: " + ", ".join(names[:most]) + more] if names else [])
