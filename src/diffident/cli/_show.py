"""What the verbs share: progress bars, machine-readable summaries, lists of what was left out."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..detector import Detector

#: The flag of every verb that asks a model.
PRECISION = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of the arithmetic; auto is the best of this machine, of features fp32.",
)


#: The flag of every verb that asks about items which a model may tell apart by kind.
KIND = click.option("--kind", default="", metavar="NAME", help="Of all items, where the model tells kinds apart. Default: the first folder of each.")

#: The flag of every verb that decides or says how decisions will be made.
DEPTH = click.option(
    "--depth",
    type=float,
    default=None,
    help="Decline as out of depth at p-values of plain measures up to this, beside --flag. Default: the model's own; of a new one 0, never.",
)

#: The flag of every verb that can tell kinds apart.
KINDS = click.option(
    "--kinds", type=click.Choice(["folder"]), default=None, help="Tell kinds of items apart by the first folder of each; each kind is calibrated by itself."
)


def deciding(detector: Detector, flag: float | None = None, abstain: float | None = None, depth: float | None = None) -> Detector:
    """The detector with the levels that are given in place of its own."""
    from dataclasses import replace

    return replace(detector, policy=detector.policy.changed(flag, abstain, depth))


def bar(steps: Iterable[Any], doing: str, total: int, worth: int = 1) -> Iterable[Any]:
    """Shows progress on standard error where that is a terminal, and nothing elsewhere: done, per second, time left.

    ``worth`` is how many items a step is about; then it is items that are counted.
    """
    from tqdm import tqdm

    hidden, items = sys.stderr is None or not sys.stderr.isatty(), worth > 1
    scale, unit = (worth, " images") if items else (False, "it")
    return tqdm(steps, desc=doing, total=total, file=sys.stderr, disable=hidden, leave=False, unit=unit, unit_scale=scale)


def stoppable(stop: Interruption) -> Callable[..., Iterable[Any]]:
    """A bar that ends in KeyboardInterrupt between two steps, once that was asked: whoever makes the steps can keep what is whole."""

    def steps(made: Iterable[Any], doing: str, total: int, worth: int = 1) -> Iterable[Any]:
        for one in bar(made, doing, total, worth):
            yield one
            if stop.asked:
                raise KeyboardInterrupt

    return steps


def summary(facts: Mapping[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """One JSON object on standard output, or the same for people."""
    click.echo(json.dumps(facts, ensure_ascii=True, allow_nan=False) if as_json else "\n".join(lines))


def calibrated(detector: Detector, out: str, left_out: int) -> dict[str, Any]:
    """What a verb that calibrates tells, for people and machines."""
    facts = {"model": out, "references": len(detector.calibrated), "left_out": left_out, "flag": detector.settled().flag}
    kinds = {"kinds": detector.calibrated.kinds} if detector.model.kinds else {}
    return {**facts, **kinds, "fingerprint": detector.scorer.fingerprint, "promise": detector.promise()}


def left_out(items: Sequence[tuple[str, str]], most: int = 5) -> None:
    """Names on standard error the items that were left out, and why."""
    for name, reason in items[:most]:
        click.echo(f"left out: {name}: {reason}", err=True)
    if len(items) > most:
        click.echo(f"left out: {len(items) - most} more", err=True)


def folders(source: str, least: int = 38) -> list[str]:
    """A hint where all known-good items lie in several folders that could each be calibrated by itself, and kinds were not told apart.

    Args:
        source: a folder of items.
        least: items in each folder, half of which calibrate at p <= 0.05.
    """
    from collections import Counter

    from ..data import Items

    found = Counter(item.kind for item in Items.open(source))
    if len(found) < 2 or "" in found or min(found.values()) < least:
        return []
    names = ", ".join([*list(found)[:3], *(["…"] if len(found) > 3 else [])])
    return [f"hint: {source} holds {len(found)} folders ({names}); if they are kinds of things, --kinds folder calibrates each by itself"]


def size(text: str | None) -> int | tuple[int, int] | None:
    """``64`` or ``48x64`` (height x width) as numbers."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"a size is 64 or 48x64 (height x width); got {text!r}")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


class Interruption:
    """Ctrl-C as a wish to stop at the next whole row; a second one stops at once. For the ``with`` statement of a verb."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interruption:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
