"""One self-contained HTML page about a run: what was decided, what is promised, and the strangest items to look at."""

from __future__ import annotations

import datetime
import math
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..detector import Detector
from ..errors import InvalidSetting, OutputError
from ..modalities import Modality
from ..recipes import recipe as recipe_of
from ..verdict import Policy, Verdict, Verdicts
from .album import Album, Shown
from .charts import histogram
from .colours import Scale, scale_of
from .pictures import SMALL, Picture, caption, data_uri, legend, located, marking, shown, sized

#: Decisions in the order in which they want attention, with the word for many of them.
DECISIONS = {"flag": "flagged", "abstain": "abstained from", "unreadable": "unreadable", "accept": "accepted"}

CAUTION = "Flagged is not faulty: it means stranger than good items are. Accepted is not flawless: nothing is promised about what is missed."

META = ('charset="utf-8"', 'name="viewport" content="width=device-width, initial-scale=1"', 'name="color-scheme" content="light dark"')

#: Pictures longer than this are reduced; the table of items is folded up if it is longer.
SIDE, LONG = 256, 60


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a page shows.

    Attributes:
        verdicts: on every item that was judged, in order.
        asked: what was decided by, in words.
        level: at which p-values items are flagged, each by itself; NaN when the batch was decided about as a whole.
        strangest: to be shown.
        declined: a few of those that were not judged though they could be read.
        modality: makes pictures of their values.
        scale: of the colours of all maps; None if the recipe has none.
        facts: where this comes from: model, recipe, fingerprints, version, date.
        note: something to be said first, for example that the run was interrupted.
    """

    verdicts: Verdicts
    asked: str
    level: float
    strangest: tuple[Shown, ...]
    declined: tuple[Shown, ...]
    modality: Modality
    scale: Scale | None
    facts: Mapping[str, str]
    note: str = ""


def findings(detector: Detector, verdicts: Verdicts, album: Album, asked: str, level: float, source: str, note: str = "") -> Findings:
    """What a detector's run comes to, with the album that was told of it."""
    shown_, declined = album.strangest(verdicts), album.declined(verdicts)
    facts = {**facts_of(detector), "items": source, "judged": f"{len(verdicts)}, on {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"}
    return Findings(verdicts, asked, level, shown_, declined, detector.model.modality, scale_of(detector), facts, note)


def report(detector: Detector, source: Any, path: str | Path, policy: Policy | None = None, strangest: int = 12) -> Verdicts:
    """Judge all items of a source and write one self-contained HTML page about it.

    Args:
        detector: calibrated.
        source: a folder, a path, a list, an array.
        path: of the page, ending in .html.
        policy: instead of the detector's own.
        strangest: how many of the strangest to show.

    Returns:
        the verdicts, in the order of the items.

    Raises:
        InvalidSetting, OutputError: the page could not be written there; told before the work where it can be.
        what :meth:`Detector.judge` raises.
    """
    target, settled, album, verdicts = writable(path), detector.settled(policy), Album(detector, strangest), []
    for item, verdict in detector.judge(source, settled, maps=bool(detector.scorer.asked.mapped)):
        album.add(item, verdict)
        verdicts.append(replace(verdict, where=None))
    judged = Verdicts(tuple(verdicts), tuple(detector.scorer.columns), detector.promise(settled), detector.model.kinds)
    named = str(source) if isinstance(source, str | Path) else f"{len(verdicts)} items"
    write(target, page(findings(detector, judged, album, asked_of(settled), settled.flag or 0.0, named)).encode())
    return judged


def asked_of(policy: Policy) -> str:
    """What a settled policy asks, in words."""
    abstain = f", abstain above that and up to {policy.abstain:g}" if policy.abstain else ""
    return f"Flag at p <= {policy.flag:g}{abstain}" + (f"; decline as out of depth at p <= {policy.depth:g} of plain measures." if policy.depth else ".")


def asked_of_batch(fdr: float) -> str:
    """What a bound on false discoveries asks, in words."""
    return f"Decide about the batch as a whole: of the items flagged, at most {100 * fdr:.3g} % should be good on average."


def facts_of(detector: Detector) -> dict[str, str]:
    """What identifies a detector, in words."""
    asked, trained = recipe_of(detector.recipe), detector.model.notes.get("made", "")
    return {
        "model": f"{detector.model.name}, learned from {len(detector.model.seen)} items" + (f" on {trained}" if trained else ""),
        "fingerprint of the model": detector.model.fingerprint,
        "recipe": f"{asked.name}: {', '.join(dict.fromkeys(reading.label for reading in asked.readings))}; {asked.cost} per item",
        "source of the recipe": asked.source or "not given",
        "fingerprint of model and recipe": detector.scorer.fingerprint,
        "references": f"{len(detector.calibrated)} known-good items, not used in training"
        + (f", of {len(detector.model.kinds)} kinds: {', '.join(detector.model.kinds)}" if detector.model.kinds else ""),
        "made by": f"diffident {version('diffident')}",
    }


def page(found: Findings) -> str:
    """The page as text: no script is needed, nothing is fetched."""
    counts = Counter(verdict.decision for verdict in found.verdicts)
    flagged = f"{counts['flag']} of {len(found.verdicts)} flagged"
    parts = [
        _head(found, counts, flagged),
        _promise(found),
        _strangest(found),
        _declined(found),
        _table(found.verdicts),
        _facts(found.facts),
    ]
    return document(f"{flagged} · {_text(found.facts['model'].split(',')[0])}", parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page of parts, under a title."""
    meta = "".join(f"<meta {one}>\n" for one in META)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{meta}<title>{title}</title>\n<style>\n{_part("page.css")}</style>\n</head>\n'
        f"<body>\n<main>\n{''.join(parts)}</main>\n<script>\n{_part('page.js')}</script>\n</body>\n</html>\n"
    )


def writable(path: str | Path) -> Path:
    """The path, if a page could be written there as far as can be told before the work.

    Raises:
        InvalidSetting: it does not end in .html.
        OutputError: there is no such folder, it cannot be written, or a folder is in the way.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise InvalidSetting(f"a report is a page that ends in .html; got {target}")
    return require_place(target)


def require_place(target: Path) -> Path:
    """The path, if a file could be written there as far as can be told before the work.

    Raises:
        OutputError: there is no such folder, it cannot be written, or a folder is in the way.
    """
    why = "it is a folder" if target.is_dir() else "there is no such folder" if not target.parent.is_dir() else ""
    if why or not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {target}: {why or f'{target.parent} is not writable'}; choose another place")
    return target


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; what was there before stays until then.

    Raises:
        OutputError: it cannot be written, or the disk is full.
    """
    made = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
            made = Path(file.name)
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        made.chmod(0o666 & ~mask)  # a temporary file is private; a finished one is as any other
        os.replace(made, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place or make room") from error
    finally:
        if made is not None:
            with suppress(OSError):
                made.unlink(missing_ok=True)


def _part(name: str) -> str:
    return files("diffident.report").joinpath(name).read_text("utf-8")


def _text(text: str) -> str:
    """Text as it may stand in a page, bytes that are no text among it."""
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _head(found: Findings, counts: Mapping[str, int], flagged: str) -> str:
    tiles = "".join(f'<li class="{decision}"><b>{counts[decision]}</b> {word}</li>' for decision, word in DECISIONS.items() if counts.get(decision))
    note = f'<p class="note">{_text(found.note)}</p>' if found.note else ""
    over = f'<p class="over">Inspection report · {_text(found.facts["items"])}</p>'
    return f'<header>\n{over}\n<h1>{flagged}</h1>\n{note}<ul class="tiles">{tiles}</ul>\n</header>\n'


def _promise(found: Findings) -> str:
    judged = [verdict for verdict in found.verdicts if verdict.judged]
    chart = "<p>No item could be judged, so there are no p-values to draw.</p>"
    if judged:
        chart = histogram([verdict.p for verdict in judged], found.level, min(verdict.references for verdict in judged))
    asked = f'<p>{_text(found.asked)}</p>\n<p class="promise">{_text(found.verdicts.promise)}</p>'
    return f"<section>\n<h2>What was asked, and what is promised</h2>\n{asked}\n<p>{CAUTION}</p>\n{chart}</section>\n"


def _strangest(found: Findings) -> str:
    if not found.strangest:
        return ""
    cards = "".join(_card(i, one, found) for i, one in enumerate(found.strangest, start=1))
    count = f"The {len(found.strangest)} strangest" if len(found.strangest) > 1 else "The strangest"
    return f'<section>\n<h2>{count}</h2>\n{_legend(found)}<ol class="cards">\n{cards}</ol>\n</section>\n'


def _legend(found: Findings) -> str:
    if found.scale is None:
        return "<p>This recipe reads one number per item and cannot say where an item is strange, so no maps are shown.</p>\n"
    scale = found.scale
    picture = f'<img alt="Colours from magenta (least) to light yellow (most)" src="{data_uri(legend(scale))}" width="256" height="12">'
    said = next((marking(one.where) for one in found.strangest if one.where is not None), "")
    ends = f"<div><span>{_number(scale.low)}</span><span>{_number(scale.high)} and more</span></div>"
    return f'<figure class="legend">{picture}{ends}<figcaption>{_text(scale.says + said)}</figcaption></figure>\n'


def _card(rank: int, one: Shown, found: Findings) -> str:
    verdict = one.verdict
    because = _text(verdict.because[:1].upper() + verdict.because[1:])
    return (
        f'<li class="card" id="strange-{rank}">\n<h3><span class="name">{_text(verdict.name)}</span> {_badge(verdict)}</h3>\n'
        f'<div class="pictures">{_pictures(one, found)}</div>\n<p class="because">{because}.</p>\n{_evidence(verdict)}</li>\n'
    )


def _badge(verdict: Verdict) -> str:
    p = "" if math.isnan(verdict.p) else f' <span class="p">p = {_number(verdict.p)}</span>'
    return f'<span class="badge {verdict.decision}">{verdict.decision}</span>{p}'


def _pictures(one: Shown, found: Findings) -> str:
    name = one.verdict.name
    if one.values is None:
        return "<p>It could not be read again when this page was written; its verdict stands.</p>"
    plain = shown(found.modality, one.values)
    drawn = [_figure(plain, f"The item {name}", "the item")]
    if one.where is not None and found.scale is not None:
        drawn.append(_figure(located(plain, one.where, found.scale, SIDE), f"The item {name}, coloured where it is strange", caption(one.where)))
    if one.nearest is not None:
        known, values = one.nearest
        drawn.append(_figure(shown(found.modality, values), f"The most similar known-good item, {known}", f"nearest known-good: {known}"))
    return "".join(drawn)


def _figure(picture: Picture, alt: str, words: str) -> str:
    kept = picture if max(picture.size) <= SIDE else sized(picture, SIDE)
    fine = ' class="small"' if max(kept.size) <= SMALL else ""
    drawn = f'<img{fine} alt="{_text(alt)}" src="{data_uri(kept)}" width="{kept.width}" height="{kept.height}">'
    return f"<figure>{drawn}<figcaption>{_text(words)}</figcaption></figure>"


def _evidence(verdict: Verdict) -> str:
    ordered = sorted(verdict.evidence.items(), key=lambda column: column[1])
    rows = "".join(f"<tr><th scope=row>{_text(name)}</th><td>{_number(verdict.raw[name])}</td><td>{_number(p)}</td></tr>" for name, p in ordered)
    return f"<table><thead><tr><th scope=col>statistic</th><th scope=col>value</th><th scope=col>its own p</th></tr></thead><tbody>{rows}</tbody></table>\n"


def _declined(found: Findings) -> str:
    """Items that nothing was decided about, with the reason."""
    kept = [verdict for verdict in found.verdicts if verdict.decision in ("abstain", "unreadable")]
    if not kept:
        return ""
    shown_ = "".join(
        f"<li>{_figure(shown(found.modality, one.values), one.verdict.name, one.verdict.name)}</li>" for one in found.declined if one.values is not None
    )
    pictures = f'<ul class="strip">{shown_}</ul>' if shown_ else ""
    rows = "".join(f"<tr><th scope=row>{_text(v.name)}</th><td>{_badge(v)}</td><td>{_text(v.reason)}</td></tr>" for v in kept)
    head = "<tr><th scope=col>item</th><th scope=col>decision</th><th scope=col>why</th></tr>"
    table = _folded(f'<div class="wide"><table class="reasons"><thead>{head}</thead><tbody>{rows}</tbody></table></div>', len(kept), "of them")
    first = f"<h2>Not decided: {len(kept)}</h2>\n<p>No decision should rest on these; look at them yourself.</p>"
    return f"<section>\n{first}\n{pictures}{table}</section>\n"


def _table(verdicts: Verdicts) -> str:
    head = "".join(
        f'<th scope=col data-by="{kind}">{name}</th>' for name, kind in (("item", "text"), ("decision", "text"), ("p", "number"), ("score", "number"))
    )
    rows = "".join(
        f'<tr class="{v.decision}"><th scope=row>{_text(v.name)}</th><td>{v.decision}</td><td>{_number(v.p)}</td><td>{_number(v.score)}</td></tr>\n'
        for v in verdicts
    )
    table = f'<div class="wide"><table id="all"><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'
    return f'<section>\n<h2>All items</h2>\n<p id="finder" hidden></p>\n{_folded(table, len(verdicts), "items")}</section>\n'


def _folded(table: str, count: int, of: str) -> str:
    return table if count <= LONG else f"<details><summary>Show all {count} {of}</summary>{table}</details>"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())
    return f"<footer>\n<h2>Where this comes from</h2>\n<dl>{rows}</dl>\n</footer>\n"
