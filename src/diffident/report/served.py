"""One self-contained HTML page about what a guard made: what it released, what it withheld and why, and how each came about."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from ..guard import Guard, Served
from .page import _badge, _evidence, _facts, _figure, _text, document
from .pictures import Picture, data_uri
from .strip import strip

#: Of the released and of the withheld, so many are shown with their film; of the others the picture alone.
FILMS = 24

WORDS = {"accept": "released", "flag": "withheld", "abstain": "declined"}

CAUTION = (
    "Withheld is not faulty: it means stranger than what is released. Released is not flawless: how often it fails is bounded only where the promise says so."
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One request as a page shows it; pictures are made at once, so that nothing else of it is held.

    Attributes:
        served: what came of it, without its film.
        picture: of the last attempt that was finished; None if there is none.
        film: how that came about; None where no more are shown, or nothing is known.
    """

    served: Served
    picture: Picture | None
    film: Picture | None


def frame(guard: Guard, served: Served, filmed: bool) -> Frame:
    """What a page shows of one request."""
    finished = [one for one in served.attempts if not one.abandoned]
    picture = guard.generator.picture(finished[-1].output) if finished else None
    model = guard.generator.model
    film = strip(model, served.attempts[-1].film) if filmed and served.attempts and model is not None else None
    return Frame(served._replace(attempts=()), picture, film)


def page(guard: Guard, frames: Sequence[Frame], wished: int, note: str = "") -> str:
    """The page as text: no script is needed, nothing is fetched.

    Args:
        wished: how many requests there were to serve.
        note: something to be said first.
    """
    counts = Counter(one.served.verdict.decision for one in frames)
    title = f"{counts['accept']} of {len(frames)} released"
    tiles = "".join(f'<li class="{decision}"><b>{counts[decision]}</b> {word}</li>' for decision, word in WORDS.items() if counts[decision])
    told = f'<p class="note">{_text(note)}</p>' if note else ""
    head = f'<header>\n<p class="over">What a guard made · {wished} requests</p>\n<h1>{title}</h1>\n{told}<ul class="tiles">{tiles}</ul>\n</header>\n'
    promise = f'<section>\n<h2>What is promised</h2>\n<p class="promise">{_text(guard.promise)}</p>\n<p>{CAUTION}</p>\n{_drift(guard)}</section>\n'
    withheld = [one for one in frames if one.served.verdict.decision != "accept"]
    released = [one for one in frames if one.served.verdict.decision == "accept"]
    parts = [head, promise, _cards("Withheld", withheld), _cards("Released", released), _facts(facts_of(guard))]
    return document(title, parts)


def facts_of(guard: Guard) -> Mapping[str, str]:
    """What identifies a guard, in words."""
    asked, fitted, model = guard.introspection.recipe, guard.fitted, guard.generator.model
    weights = sorted(zip(fitted.head.weights, fitted.head.signals, strict=True), reverse=True)
    return {
        "model": model.name if model is not None else "a pipeline of diffusers",
        "recipe": f"{asked.name}: {', '.join(one.label for one in asked.readings)}; {asked.cost} per sample beside its making",
        "weights of the signals": ", ".join(f"{name} {weight:.2g}" for weight, name in weights),
        "labelled samples behind them": str(fitted.labelled),
        "fingerprint of generator and recipe": guard.introspection.fingerprint,
        "made": f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, by diffident {version('diffident')}",
    }


def _drift(guard: Guard) -> str:
    if guard.drift is None or not guard.drift.alarm:
        return ""
    return '<p class="note">The stream has drifted: what is made now is stranger than in the trial, and the promise may no longer hold. Make a new trial.</p>\n'


def _cards(title: str, frames: Sequence[Frame]) -> str:
    if not frames:
        return ""
    cards = "".join(_card(one) for one in frames if one.film is not None or one.picture is None)
    plain = "".join(
        f"<li>{_figure(one.picture, one.served.verdict.name, _caption(one.served))}</li>" for one in frames if one.film is None and one.picture is not None
    )
    rest = f'<ul class="strip">{plain}</ul>\n' if plain else ""
    return f'<section>\n<h2>{title}: {len(frames)}</h2>\n<ol class="films">\n{cards}</ol>\n{rest}</section>\n'


def _card(one: Frame) -> str:
    verdict = one.served.verdict
    because = _text(verdict.because[:1].upper() + verdict.because[1:])
    shown = "" if one.picture is None else f'<div class="pictures">{_figure(one.picture, verdict.name, _caption(one.served))}</div>'
    film = (
        ""
        if one.film is None
        else f'<img alt="How it came about, level by level" src="{data_uri(one.film)}" width="{one.film.width}" height="{one.film.height}">'
    )
    evidence = f"<details><summary>Evidence</summary>{_evidence(verdict)}</details>" if verdict.evidence else ""
    name = f'<h3><span class="name">{_text(verdict.name)}</span> {_badge(verdict).replace(verdict.decision + "<", WORDS[verdict.decision] + "<")}</h3>'
    return f'<li class="card">\n{name}\n{shown}<p class="because">{because}.</p>\n{film}\n{evidence}</li>\n'


def _caption(served: Served) -> str:
    return served.request.label or served.verdict.name
