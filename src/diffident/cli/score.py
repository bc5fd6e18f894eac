"""``diffident score``: a decision for every item, with its p-value."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from . import _show

if TYPE_CHECKING:
    from ..detector import Detector
    from ..scores import Scores
    from ..verdict import Policy, Verdict, Verdicts


@click.command("score", short_help="Decide about items: accept, abstain or flag, each with its p-value.")
@click.argument("model", type=click.Path())
@click.argument("items", type=click.Path())
@click.option("-o", "--out", default=None, type=click.Path(), help="A .csv, .json or .jsonl file for the rows.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: the model's own.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this.")
@click.option("--fdr", type=float, default=None, help="Decide about the whole batch: of the items flagged, at most this share is good on average.")
@click.option("--strangest", type=int, default=5, show_default=True, help="How many of the strangest to name.")
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

    from ..detector import Detector
    from ..verdict import Policy

    detector = Detector.load(model)
    asked = Policy(flag, abstain) if flag is not None or abstain is not None else None
    verdicts, interrupted = _judge(detector, items, out, asked, fdr)
    _tell(verdicts, out, strangest, as_json)
    if interrupted:
        raise KeyboardInterrupt


def _judge(detector: Detector, items: str, out: str | None, asked: Policy | None, fdr: float | None) -> tuple[Verdicts, bool]:
    """All verdicts, and whether the run was interrupted; rows go to the file as they come, or all at once for a batch."""
    from contextlib import nullcontext

    from ..rows import RowWriter
    from ..verdict import header

    policy = detector.settled(asked)
    parts: list[Scores] = []
    verdicts: list[Verdict] = []
    interrupted = False
    with RowWriter(out, header(tuple(detector.scorer.columns))) if out else nullcontext() as rows:
        try:
            for scores in _scored(detector, items):
                parts.append(scores)
                if fdr is None:
                    new = list(detector.judge_all(scores, policy=policy))
                    verdicts += new
                    _write(rows, new)
        except KeyboardInterrupt:
            interrupted = True
        found = _whole(detector, parts, verdicts, policy, fdr)
        if fdr is not None:
            _write(rows, list(found))
    return found, interrupted


def _scored(detector: Detector, items: str) -> Any:
    from ..data import Items

    opened = Items.open(items)
    return (scores for _, scores in _show.bar(detector.scorer.stream(opened), "scoring", -(-len(opened) // detector.model.chunk)))


def _whole(detector: Detector, parts: list[Scores], verdicts: list[Verdict], policy: Policy, fdr: float | None) -> Verdicts:
    from ..scores import Scores
    from ..verdict import Verdicts

    if fdr is not None and parts:
        return detector.judge_all(Scores.merge(parts), fdr=fdr)
    return Verdicts(tuple(verdicts), tuple(detector.scorer.columns), policy.promise(len(detector.calibrated)))


def _write(rows: Any, verdicts: list[Verdict]) -> None:
    if rows is not None:
        for verdict in verdicts:
            rows.write(verdict.row())


def _tell(verdicts: Verdicts, out: str | None, strangest: int, as_json: bool) -> None:
    counts = Counter(verdict.decision for verdict in verdicts)
    first = verdicts.strangest(strangest)
    told = ", ".join(
        f"{counts[decision]} {word}"
        for decision, word in (("accept", "accepted"), ("abstain", "abstained from"), ("flag", "flagged"), ("unreadable", "unreadable"))
        if counts[decision]
    )
    facts = {
        "items": len(verdicts),
        **{d: counts[d] for d in ("accept", "abstain", "flag", "unreadable")},
        "promise": verdicts.promise,
        "out": out,
        "strangest": [{"path": v.name, "p_value": v.p, "decision": v.decision, "because": v.because} for v in first],
    }
    lines = [f"{len(verdicts)} {'item' if len(verdicts) == 1 else 'items'}: {told}", verdicts.promise]
    lines += ["", "the strangest:", *(f"  {v.name}  {v}\n      {v.because}" for v in first)] if first else []
    lines += ["", f"rows written to {out}"] if out else []
    _show.summary(facts, as_json, lines)
