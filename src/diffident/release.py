"""What a generator may release: either failures among released items are bounded, or good items that are withheld."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .calibration.risk import Approved, Certified
from .errors import InvalidSetting

#: What :class:`Release` bounds when nothing is asked for: this share of good requests may be withheld.
WITHHELD = 0.05


@dataclass(frozen=True)
class Release:
    """How a model that judges its own samples decides what to release. Exactly one of ``risk`` and ``withhold`` is bounded.

    Attributes:
        risk: at most this share of what is released fails; it needs a trial with labels.
        confidence: the share of trials in which that holds; it has no part in ``withhold``.
        tries: how many attempts a request may make; the bound is one of the whole procedure, so other tries need another trial.
        withhold: at most this share of good requests is withheld, on average; known-good samples suffice. Without ``risk`` it is .05.
        early: the share of good samples that may be given up half-way, part of ``withhold``
            and well below it; None finishes every sample.
        share: of its way after which a sample may be given up; it matters with ``early`` alone.

    Raises:
        InvalidSetting: both bounds are asked for, or a setting lies outside its range.

    >>> Release()
    Release(risk=None, confidence=0.9, tries=1, withhold=0.05, early=None, share=0.5)
    >>> Release(risk=0.05, tries=3).withhold is None
    True
    """

    risk: float | None = None
    confidence: float = 0.9
    tries: int = 1
    withhold: float | None = None
    early: float | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.risk is not None and self.withhold is not None:
            raise InvalidSetting(f"bound either failures among released items or withheld good ones; got risk {self.risk:g} and withhold {self.withhold:g}")
        if self.risk is None and self.withhold is None:
            object.__setattr__(self, "withhold", WITHHELD)
        for name, share in (("risk", self.risk), ("confidence", self.confidence), ("withhold", self.withhold), ("early", self.early), ("share", self.share)):
            if share is not None and not 1e-9 <= share < 1.0:
                raise InvalidSetting(f"{name} lies between 0 and 1; got {share:g}")
        if self.tries < 1:
            raise InvalidSetting(f"tries is a whole number, 1 or more; got {self.tries}")
        if self.early is not None and self.withhold is not None and self.early >= self.withhold:
            raise InvalidSetting(f"what is given up early counts as withheld: early must lie below withhold; got {self.early:g} and {self.withhold:g}")

    @property
    def level(self) -> float:
        """What is bounded: the risk, or the share that is withheld."""
        return self.risk if self.risk is not None else self.withhold or WITHHELD

    def to_config(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_config(config: Mapping[str, object]) -> Release:
        """Read back what :meth:`to_config` wrote."""
        shares = {name: None if config.get(name) is None else float(str(config[name])) for name in ("risk", "withhold", "early")}
        confidence, tries = float(str(config.get("confidence", 0.9))), int(str(config.get("tries", 1)))
        return Release(shares["risk"], confidence, tries, shares["withhold"], shares["early"], float(str(config.get("share", 0.5))))

    def promise(self, found: Certified | Approved, reviewed: bool = True) -> str:
        """What is promised with that threshold, in plain words; where nobody has ``reviewed`` the trial, of all requests and not of good ones.

        >>> Release(withhold=0.05).promise(Approved(1.0, 99, 0.05, 0.078))
        'At most 5 % of good requests are withheld on average (99 known-good), and with 90 % confidence at most 7.8 % with this calibration, while \
requests stay as these were; how often a released item fails is not bounded: that needs a trial with labels.'
        """
        tries = f", the first acceptable of up to {self.tries} attempts each," if self.tries > 1 else ""
        if isinstance(found, Approved):
            whose, which = ("good requests", "known-good") if reviewed else ("requests", "that nobody has reviewed")
            return (
                f"At most {_percent(found.level)} of {whose} are withheld on average ({found.of} {which}{tries.rstrip(',')}), and with 90 % confidence at "
                f"most {_percent(found.bound)} with this calibration, while requests stay as these were; how often a released item fails is not "
                "bounded: that needs a trial with labels."
            )
        if found.always_withholds:
            return (
                f"Nothing is released: the trial of {found.of} requests supports no threshold below which at most {_percent(found.risk)} fail with "
                f"{_percent(found.confidence)} confidence; label more, allow a higher risk, or use a sharper score."
            )
        return (
            f"Of what is released{tries} at most {_percent(found.risk)} fails, with {_percent(found.confidence)} confidence over trials, while requests "
            f"stay as in the trial ({found.released} of {found.of} were released, {found.bad} of these failed)."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
