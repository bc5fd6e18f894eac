"""From p-values to decisions: accept, abstain or flag, each with its bound, its evidence and one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np

from .calibration import Judged
from .calibration.depth import Depth
from .calibration.ranks import Dependence, false_alarm_bound, false_discoveries, fewest_discoveries, needed, reaches, smallest_p
from .errors import InvalidSetting, NotCalibrated, TooFewReferences
from .regions import Where
from .rows import Cell, RowWriter
from .scores import Scores

Decision = Literal["accept", "abstain", "flag", "unreadable"]

#: What :class:`Policy` tries when no level is asked for, strictest first.
LEVELS = (0.01, 0.02, 0.05)

#: No level below this: it would take a thousand million references.
SMALLEST = 1e-9

#: Every row of results begins with these; the raw statistics follow.
COLUMNS = ("path", "score", "p_value", "decision", "reason", "because")

#: And end with this one, where there are kinds.
KIND = "kind"


@dataclass(frozen=True)
class Policy:
    """Two levels on the p-value: flag at ``p <= flag``, abstain at ``flag < p <= abstain``, else accept; and one on plain measures.

    Attributes:
        flag: the share of good items that may be flagged; None takes the strictest of .01, .02, .05 that the references can reach.
        abstain: the upper end of the grey zone, above flag; None leaves no grey zone.
        depth: the share of good items that may be declined as out of depth, by what was measured plainly when they were opened
            (:func:`diffident.calibration.standing`): it notices broken sensors, another resolution, another archive. 0 declines none.
            It is added to ``flag``, and an item out of depth is abstained from whatever its p.

    Raises:
        InvalidSetting: a level outside (0, 1), or abstain not above flag.

    >>> Policy().resolve(60)
    Policy(flag=0.02, abstain=None)
    >>> Policy(0.01, 0.05).decide(0.03)
    'abstain'
    """

    flag: float | None = None
    abstain: float | None = None
    depth: float = 0.0

    def __post_init__(self) -> None:
        for name, level in (("flag", self.flag), ("abstain", self.abstain), ("depth", self.depth or None)):
            if level is not None and not SMALLEST <= level < 1.0:
                raise InvalidSetting(f"the {name} level (--{name}) lies between {SMALLEST:g} and 1; got {level:g}")
        if self.flag is not None and self.abstain is not None and self.abstain <= self.flag:
            raise InvalidSetting(f"the abstain level (--abstain) must lie above flag; got abstain {self.abstain:g} and flag {self.flag:g}")

    def __repr__(self) -> str:
        return f"Policy(flag={self.flag!r}, abstain={self.abstain!r}" + (f", depth={self.depth!r})" if self.depth else ")")

    def changed(self, flag: float | None = None, abstain: float | None = None, depth: float | None = None) -> Policy:
        """This policy with the levels that are given in place of its own.

        >>> Policy(0.05).changed(abstain=0.2)
        Policy(flag=0.05, abstain=0.2)
        """
        return Policy(self.flag if flag is None else flag, self.abstain if abstain is None else abstain, self.depth if depth is None else depth)

    def config(self) -> dict[str, float | None]:
        """The levels, for JSON; depth only where it is asked for, so that earlier versions read all others."""
        return {"flag": self.flag, "abstain": self.abstain} | ({"depth": self.depth} if self.depth else {})

    def resolve(self, n: int, kind: str = "") -> Policy:
        """This policy with its flag level settled for n references, which may be those of a kind.

        Raises:
            TooFewReferences: the level cannot be reached; the message gives the number needed.
            InvalidSetting: the level chosen lies above the abstain level asked for.
        """
        flag = self.flag if self.flag is not None else next((level for level in LEVELS if n >= needed(level)), LEVELS[-1])
        items = ("1 reference item" if n == 1 else f"{n} reference items") + (f" of the kind {kind!r}" if kind else "")
        if n < needed(flag):
            raise TooFewReferences(f"cannot flag at p <= {flag:g} with {items}; give at least {needed(flag)}, or a higher flag level (--flag)")
        if self.depth and n < needed(self.depth):
            asked = f"cannot decline as out of depth at p <= {self.depth:g} with {items}"
            raise TooFewReferences(f"{asked}; give at least {needed(self.depth)}, or a higher depth level (--depth)")
        return replace(self, flag=flag)

    def resolve_each(self, counts: Mapping[str, int]) -> Policy:
        """The same for several kinds with so many references each: one level, which the kind with the fewest can reach.

        >>> Policy().resolve_each({"bolt": 99, "nut": 60}).flag
        0.02

        Raises:
            TooFewReferences: a kind has too few; the message names it.
        """
        scarcest = min(counts, key=lambda kind: counts[kind])
        return self.resolve(counts[scarcest], scarcest)

    def decide(self, p: float) -> Decision:
        """What to do with an item of that p-value.

        Raises:
            NotCalibrated: the policy is not resolved.
        """
        if self.flag is None:
            raise NotCalibrated("cannot decide before the flag level is settled; resolve the policy for the number of references first")
        if reaches(p, self.flag):
            return "flag"
        return "abstain" if self.abstain is not None and reaches(p, self.abstain) else "accept"

    def promise(self, n: int) -> str:
        """What this policy promises with n references, in one plain sentence."""
        settled = self.resolve(n)
        level, sure = settled.flag or 0.0, f"with 90 % confidence at most {_percent(false_alarm_bound(n, settled.flag or 0.0))}"
        flagged, end = f"At most {_percent(level)} of good items are flagged", "with this calibration, while good items stay as the references were."
        if not self.depth:
            return f"{flagged} on average (p <= {level:g}, {n} references), and {sure} {end}"
        return f"{flagged} and {settled._declined()} on average (p <= {level:g}, {n} references); {sure} are flagged {end}"

    def _declined(self) -> str:
        """What a depth level adds to the share of good items that are not accepted."""
        return f"{_percent(self.depth)} are declined as out of depth: together {_percent((self.flag or 0.0) + self.depth)}"

    def promise_each(self, counts: Mapping[str, int]) -> str:
        """The same for several kinds with so many references each, in one plain sentence; :meth:`promise` where there are no kinds."""
        if not any(counts):
            return self.promise(sum(counts.values()))
        level, few, most = self.resolve_each(counts).flag or 0.0, min(counts.values()), max(counts.values())
        worst = max(counts, key=lambda kind: false_alarm_bound(counts[kind], level))
        declined, again = (f" and {replace(self, flag=level)._declined()}", " are flagged") if self.depth else ("", "")
        return (
            f"Of the good items of each of {len(counts)} kinds at most {_percent(level)} are flagged{declined} on average (p <= {level:g}, beside "
            f"{few if few == most else f'{few} to {most}'} references of their own kind), and of one kind with 90 % confidence at most "
            f"{_percent(false_alarm_bound(counts[worst], level))}{again} with this calibration ({worst}), while good items stay as the references were."
        )


@dataclass(frozen=True)
class Verdict:
    """The decision about one item, and everything it rests on.

    Attributes:
        name: of the item.
        decision: accept, abstain, flag or unreadable.
        p: conformal p-value of all statistics together; NaN if there is none.
        score: raw strangeness, larger is stranger, never clipped.
        evidence: per column, its own p-value.
        raw: per column, the number itself.
        references: how many known-good items stand behind p.
        level: at which items are flagged; in a batch with bounded false discoveries, that bound.
        bound: the false-alarm rate this calibration stays below with 90 % confidence; NaN for a batch.
        reason: why the item was not judged, or not sharply; empty for accept and flag.
        because: one plain sentence.
        judged: whether the p-value speaks: not for an item that is unreadable, out of depth or seen before.
        where: where it is strange, if asked for: a map, and with a recipe that combines maps what of it is marked.
        kind: of the item, beside whose references it was judged; empty where there are no kinds, or it is of none that is known.
    """

    name: str
    decision: Decision
    p: float
    score: float
    evidence: dict[str, float]
    raw: dict[str, float]
    references: int
    level: float
    bound: float
    reason: str
    because: str
    judged: bool = True
    where: Where | None = field(default=None, compare=False, repr=False)
    kind: str = ""

    @property
    def map(self) -> np.ndarray | None:
        """Where it is strange, (h, w), if asked for; larger is stranger."""
        return None if self.where is None else self.where.map

    def __str__(self) -> str:
        if self.reason and self.decision != "flag":
            start = self.decision if math.isnan(self.p) else f"{self.decision}  p={self.p:.3g}"
            return f"{start}  {self.reason}"
        speaking = sorted(self.evidence.items(), key=lambda column: column[1])[:3]
        return f"{self.decision}  p={self.p:.3g}  " + " · ".join(f"{column} {p:.3g}" for column, p in speaking)

    def row(self) -> dict[str, Cell]:
        """As a row of results: the columns of :data:`COLUMNS`, then the raw statistics, then the kind if there is one."""
        first: dict[str, Cell] = dict(zip(COLUMNS, (self.name, self.score, self.p, self.decision, self.reason, self.because), strict=True))
        return first | {column: value for column, value in self.raw.items() if column not in first} | ({KIND: self.kind} if self.kind else {})


@dataclass(frozen=True)
class Verdicts(Sequence[Verdict]):
    """Many verdicts and what was promised about them. Behaves as a sequence; writes itself to a file.

    Attributes:
        verdicts: in the order of the items.
        columns: the raw statistics, as they are named in files.
        promise: a plain sentence: the level, the references behind it, the bound.
        kinds: those that were told apart; none where there are no kinds.
    """

    verdicts: tuple[Verdict, ...]
    columns: tuple[str, ...]
    promise: str
    kinds: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Verdicts: ...
    def __getitem__(self, index: int | slice) -> Verdict | Verdicts:
        return replace(self, verdicts=self.verdicts[index]) if isinstance(index, slice) else self.verdicts[index]

    def __len__(self) -> int:
        return len(self.verdicts)

    def strangest(self, n: int) -> Verdicts:
        """The n strangest: smallest p first, then largest score; only items whose p-value speaks."""
        judged = [verdict for verdict in self.verdicts if verdict.judged]
        return replace(self, verdicts=tuple(sorted(judged, key=lambda verdict: (verdict.p, -verdict.score))[:n]))

    def to_csv(self, path: str | Path) -> None:
        """Write a table with the columns ``path, score, p_value, decision, reason, because`` and the raw statistics; NaN is empty.

        Where kinds are told apart the last column is ``kind``.

        Raises:
            InvalidSetting: the path does not end in .csv.
            OutputError: it cannot be written.
        """
        self._write(path, ".csv")

    def to_json(self, path: str | Path) -> None:
        """Write a list of objects with the columns of :meth:`to_csv`; NaN is null. Raises as it does."""
        self._write(path, ".json")

    def to_jsonl(self, path: str | Path) -> None:
        """Write one object per line with the columns of :meth:`to_csv`; NaN is null. Raises as it does."""
        self._write(path, ".jsonl")

    def _write(self, path: str | Path, suffix: str) -> None:
        if Path(path).suffix.lower() != suffix:
            raise InvalidSetting(f"to_{suffix[1:]} writes files that end in {suffix}; got {path}")
        with RowWriter(path, header(self.columns, self.kinds)) as rows:
            for verdict in self.verdicts:
                rows.write(verdict.row())


def header(columns: Sequence[str], kinds: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns of a results file: the fixed ones, then the raw statistics, then the kind where there are any."""
    return COLUMNS + tuple(column for column in columns if column not in COLUMNS) + ((KIND,) if kinds else ())


def verdicts_of(scores: Scores, judged: Judged, policy: Policy, depth: Depth | None = None, seen: Mapping[str, str] | None = None) -> Iterator[Verdict]:
    """One verdict per row of scores, each by itself: the same alone and in any company.

    Unreadable items are ``unreadable``; items out of depth, without finite scores or seen before are ``abstain``
    whatever their p.

    Args:
        policy: resolved here for the number of references.
        depth: limits on the items' vitals; None has none.
        seen: digest of an item's content -> why it cannot be judged ("is one of the references").

    Raises:
        TooFewReferences: the policy cannot be reached; before the first verdict, not after.
    """
    policy = policy.resolve(judged.references)
    whys = _whys(scores, judged, depth, seen)
    level = policy.flag or 0.0
    bounds = {n: false_alarm_bound(n, level) if n else math.nan for n in set(judged.beside)}
    whys = [why or _too_large(judged, i, level) for i, why in enumerate(whys)]
    return (
        _verdict(scores, judged, i, "abstain" if why else policy.decide(float(judged.p[i])), why, level, bounds[judged.beside[i]]) for i, why in enumerate(whys)
    )


def batch_verdicts_of(
    scores: Scores,
    judged: Judged,
    fdr: float,
    depth: Depth | None = None,
    seen: Mapping[str, str] | None = None,
    dependence: Dependence = "positive",
    declined: float = 0.0,
) -> Verdicts:
    """Verdicts on a whole batch: of those flagged, on average at most the share ``fdr`` is good. No grey zone.

    The batch is what can be judged: unreadable, out-of-depth and seen items are no part of it. ``declined`` is the level at which
    ``judged`` has declined items as out of depth; it is told with the promise.

    Raises:
        TooFewReferences: so many items cannot be served by so few references; the message gives the number needed.
    """
    whys = _whys(scores, judged, depth, seen)
    batch = np.array([not why for why in whys], dtype=bool)
    called = np.zeros(len(scores), dtype=bool)
    called[batch] = false_discoveries(judged.p[batch], fdr, judged.references, dependence)
    decisions: list[Decision] = ["abstain" if why else "flag" if flag else "accept" for why, flag in zip(whys, called, strict=True)]
    verdicts = tuple(_verdict(scores, judged, i, decision, whys[i], fdr, math.nan) for i, decision in enumerate(decisions))
    kinds = tuple(sorted(set(scores.kinds) - {""}))
    also = f" Of good items at most {_percent(declined)} are declined as out of depth on average." if declined else ""
    return Verdicts(verdicts, scores.columns, batch_promise(int(batch.sum()), fdr, judged.references, dependence, kinds) + also, kinds)


def batch_promise(m: int, fdr: float, n: int, dependence: Dependence = "positive", kinds: Sequence[str] = ()) -> str:
    """What is promised about a batch of m items, in one plain sentence; n is the fewest references behind any of them."""
    if len(kinds) > 1:
        return f"Of the items flagged in this batch of {m}, of {len(kinds)} kinds, at most {_percent(fdr)} are good on average ({n} references or more a kind)."
    fewest = fewest_discoveries(m, fdr, n, dependence)
    return (
        f"Of the items flagged in this batch of {m}, at most {_percent(fdr)} are good on average ({n} references); "
        f"p-values come in steps of 1 / {n + 1}, so {fewest} or more are flagged, or none."
    )


def _whys(scores: Scores, judged: Judged, depth: Depth | None, seen: Mapping[str, str] | None) -> list[str]:
    """Per row, empty or why it cannot be judged."""
    depth, seen = depth or Depth(), seen or {}
    whys = []
    for problem, vitals, digest, p, why in zip(scores.problems, scores.vitals, scores.digests, judged.p, judged.whys, strict=True):
        beyond = problem or depth.check(vitals) or (seen.get(digest, "") if digest else "") or why
        whys.append(beyond or ("not finite: a statistic is NaN or infinite" if math.isnan(p) else ""))
    return whys


def _too_large(judged: Judged, i: int, level: float) -> str:
    """Empty, or why an item of so many parts cannot be flagged whatever it holds: then silence is no evidence of health."""
    parts, n = (1.0 if judged.parts is None else float(judged.parts[i])), judged.beside[i]
    if parts == 1.0 or reaches(parts * smallest_p(n), level):
        return ""
    return (
        f"too large: in {parts:.0f} parts of the references' size p is {parts * smallest_p(n):.3g} or more with {n} references, above {level:g}; "
        f"calibrate on {needed(level / parts)} references, or on larger ones"
    )


def _verdict(scores: Scores, judged: Judged, i: int, decision: Decision, why: str, level: float, bound: float) -> Verdict:
    p = float(judged.p[i])
    evidence = {column: float(x) for column, x in zip(scores.columns, judged.evidence[i], strict=True)}
    reason = why or (f"between the levels: p = {p:.3g} is above {level:g}" if decision == "abstain" else "")
    says = "" if why else _says(scores, judged, i)
    parts = 1.0 if judged.parts is None else float(judged.parts[i])
    because = why or sentence(decision, p, judged.beside[i], says, scores.kinds[i], parts)
    decision = "unreadable" if scores.problems[i] else decision
    raw = dict(zip(scores.columns, map(float, scores.values[i]), strict=True))
    strangeness = float(judged.strangeness[i])
    return Verdict(scores.names[i], decision, p, strangeness, evidence, raw, judged.beside[i], level, bound, reason, because, not why, kind=scores.kinds[i])


def _says(scores: Scores, judged: Judged, i: int) -> str:
    """What sets the item apart: the place that stands out where places were compared, else the statistic that speaks loudest."""
    if judged.peaks is not None:
        at = [f"{100 * share:.0f} %" for share in judged.peaks[i]]
        return f"stands out most {at[1]} from the left and {at[0]} from the top" if len(at) == 2 else "has a place that stands out"
    return scores.says[int(np.argmin(judged.evidence[i]))] if scores.says else ""


def sentence(decision: Decision, p: float, n: int, says: str, kind: str, parts: float = 1.0) -> str:
    """Why an item was decided so: how many of n references are as strange, and what it does, where something is said of that."""
    if parts > 1:
        larger = f"larger than the references and judged in {parts:.0f} parts of their size, so that p counts {parts:.0f} times"
        return f"{larger}: {sentence(decision, p / parts, n, says, kind) if p < 1 else 'as ordinary as the known-good'}"
    as_strange, of = round(p * (n + 1)) - 1, f"of {n} references" + (" of its kind" if kind else "")
    if decision == "accept":
        return f"as ordinary as the known-good: {as_strange} {of} {'is' if as_strange == 1 else 'are'} at least as strange"
    stranger = f"stranger than {n - as_strange} {of}" + (f": it {says}" if says else "")
    return stranger if decision == "flag" else f"in the grey zone, {stranger}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
