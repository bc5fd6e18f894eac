"""``diffident score``: a decision for every item, with its p-value."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from ..data import Items
    from ..detector import Detector
    from ..rows import RowWriter
    from ..verdict import Policy, Verdicts

DECISIONS = {"accept": "accepted", "abstain": "abstained from", "flag": "flagged", "unreadable": "unreadable"}


@click.command("score", short_help="Decide about items: accept, abstain or flag, each with its p-value.")
@click.argument("model", type=click.Path())
@click.argument("items", type=click.Path())
@click.option("-o", "--out", default=None, type=click.Path(), help="A .csv, .json or .jsonl file for the rows.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: the model's own.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this. Default: the model's own.")
@click.option("--fdr", type=float, default=None, help="Decide about the whole batch: of the items flagged, at most this share is good on average.")
@click.option("--strangest", type=click.IntRange(min=0), default=5, show_default=True, help="How many of the strangest to name.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(model: str, items: str, out: str | None, flag: float | None, abstain: float | None, fdr: float | None, strangest: int, as_json: bool) -> None:
    """Decide about ITEMS (a folder, or one file) with MODEL.

    \b
    Columns: path, score (raw, larger is stranger), p_value, decision, reason, because, then each statistic.
    Decisions: accept, abstain, flag; unreadable for an item that could not be read.

    Rows are written as they come: an interrupted run keeps what it has.
    """
    if fdr is not None and (flag is not None or abstain is not None):
        raise click.UsageError("--fdr decides about the batch as a whole; leave out --flag and --abstain")

    from ..calibration import require_served
    from ..data import Items
    from ..detector import Detector
    from ..rows import RowWriter
    from ..verdict import header

    detector, opened = Detector.load(model), Items.open(items)
    policy = detector.settled(detector.policy.changed(flag, abstain))
    if fdr is not None:
        require_served(len(opened), fdr, len(detector.calibrated))  # before an earlier result is written over
    with RowWriter(out, header(tuple(detector.scorer.columns))) if out else nullcontext() as rows:
        if fdr is None:
            verdicts, interrupted = _one_by_one(detector, opened, policy, rows)
        else:
            verdicts, interrupted = _as_a_batch(detector, opened, fdr, rows)
    _tell(verdicts, out, strangest, as_json)
    if interrupted:
        raise KeyboardInterrupt


def _one_by_one(detector: Detector, items: Items, policy: Policy, rows: RowWriter | None) -> tuple[Verdicts, bool]:
    """Every verdict as it comes, each written at once; and whether the run was interrupted."""
    from ..verdict import Verdicts

    verdicts = []
    with _show.Interruption() as stop:
        for _, verdict in _show.bar(detector.judge(items, policy), "scoring", len(items)):
            verdicts.append(verdict)
            if rows is not None:
                rows.write(verdict.row())
            if stop.asked:
                break
    return Verdicts(tuple(verdicts), tuple(detector.scorer.columns), policy.promise(len(detector.calibrated))), stop.asked


def _as_a_batch(detector: Detector, items: Items, fdr: float, rows: RowWriter | None) -> tuple[Verdicts, bool]:
    """Verdicts on the batch as a whole, or on what was scored before an interruption: that is a batch too."""
    from ..scores import Scores

    parts = []
    with _show.Interruption() as stop:
        for _, scores in _show.bar(detector.scorer.stream(items), "scoring", -(-len(items) // detector.model.chunk)):
            parts.append(scores)
            if stop.asked:
                break
    verdicts = detector.judge_all(Scores.merge(parts), fdr=fdr)
    if rows is not None:
        for verdict in verdicts:
            rows.write(verdict.row())
    return verdicts, stop.asked


def _tell(verdicts: Verdicts, out: str | None, strangest: int, as_json: bool) -> None:
    counts = Counter(verdict.decision for verdict in verdicts)
    first = verdicts.strangest(strangest)
    told = ", ".join(f"{counts[decision]} {word}" for decision, word in DECISIONS.items() if counts[decision])
    facts = {
        "items": len(verdicts),
        **{decision: counts[decision] for decision in DECISIONS},
        "promise": verdicts.promise,
        "out": out,
        "strangest": [{"path": v.name, "p_value": v.p, "decision": v.decision, "because": v.because} for v in first],
    }
    lines = [f"{len(verdicts)} {'item' if len(verdicts) == 1 else 'items'}: {told}", verdicts.promise]
    lines[1:1] = _declined(verdicts)
    lines += ["", "the strangest:", *(f"  {v.name}  {v}\n      {v.because}" for v in first)] if first else []
    lines += ["", f"rows written to {out}"] if out else []
    _show.summary(facts, as_json, lines)


def _declined(verdicts: Verdicts, most: int = 3) -> list[str]:
    """Why items were not decided about, in a line each: how often which reason, and the names of the unreadable."""
    reasons = Counter(verdict.reason.split(":")[0] for verdict in verdicts if verdict.decision == "abstain")
    lines = ["abstained: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())] if reasons else []
    names = [verdict.name for verdict in verdicts if verdict.decision == "unreadable"]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return lines + (["unreadable: " + ", ".join(names[:most]) + more] if names else [])
