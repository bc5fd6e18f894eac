"""Judges inputs: a scorer, a calibration and a policy behind one short name. A façade; nobody subclasses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import store
from .calibration import Calibration, Judged
from .calibration.combiners import combiner
from .calibration.depth import Depth
from .data import Item, Items
from .errors import DamagedModel, DifferentAnswers, ForeignScores, InvalidSetting, ItemError, NotCalibrated
from .folder import placed, read_folder, write_folder
from .gallery import KEEP, Gallery, Kept, chosen, spread
from .hardware import stamp
from .model import Model
from .recipes import Recipe, recipe, recipe_from
from .references import references
from .regions import Where, in_parts, where
from .scorer import Lift, Scorer
from .scores import Scores
from .verdict import Policy, Verdict, Verdicts, batch_verdicts_of, verdicts_of
from .witness import check_rows

#: In tiles an item may have any size.
SIDES = ("height", "width")

REFERENCES, GALLERY = "references.safetensors", "gallery.safetensors"


#: Shows progress: takes the steps, what is being done and how many steps there are; gives the steps back one by one.
Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Detector:
    """Says of each item whether to accept it, flag it or abstain, at a stated rate of false alarms.

    A good item is flagged with probability at most the policy's level, averaged over calibrations, as long as good
    items to come are exchangeable with the references: taken alike, in no telling order. The references may not have
    been used in training, and a reference is not judged again.

    Attributes:
        model: what is asked.
        recipe: what is asked of it, by name or as data; empty asks ``inspection`` of a model that lives in features and
            ``reconstruction`` of any other.
        policy: at which p-values to flag and to abstain.
        calibration: the scores of known-good items; ``fit`` makes it.
        depth: what known-good items measure plainly (size, contrast, ...); beyond it the detector abstains.
        gallery: known-good items to look at beside a strange one; none of it enters a decision.

    >>> import numpy as np, diffident as dd
    >>> rng = np.random.default_rng(0)
    >>> model = dd.train(rng.uniform(0.4, 0.6, (60, 8, 8)), network="none")
    >>> detector = dd.Detector(model, "reconstruction").fit(rng.uniform(0.4, 0.6, (99, 8, 8)))
    >>> detector(rng.uniform(0.3, 0.7, (8, 8))).decision
    'flag'
    """

    model: Model
    recipe: Recipe | str = ""
    policy: Policy = field(default_factory=Policy)
    calibration: Calibration | None = None
    depth: Depth = field(default_factory=Depth)
    gallery: Gallery | None = None

    def __post_init__(self) -> None:
        asked = recipe(self.recipe or ("inspection" if self.model.space.suits("features") else "reconstruction"))
        object.__setattr__(self, "recipe", asked if self.model.tiles is None else asked.highest())
        if self.calibration is not None:
            self.calibration.references.require(self.scorer.fingerprint, "this model and recipe")

    @cached_property
    def scorer(self) -> Scorer:
        """What turns items into raw numbers."""
        return Scorer(self.model, recipe(self.recipe))

    def fit(self, source: Any, keep: int = KEEP) -> Detector:
        """A detector calibrated on known-good items (a folder, a list, an array): new, the old one is unchanged.

        Items that cannot be read are left out, and of identical items all but the first: copies of one item are one
        reference, however many they are. Scores made before are taken too.

        Args:
            source: the items.
            keep: of so many, evenly spaced, a small copy is kept to be looked at; they will lie in the detector's folder.

        Raises:
            NoItems: nothing readable.
            SeenInTraining: some of the items trained the model; their p-values would promise nothing.
            UnknownKind: the model tells kinds apart, and some of the items are of none that it knows.
            NotFinite: an item with a score that is not a number.
            TooFewReferences: too few for the policy, of any kind that the model tells apart.
        """
        return self.fit_parts([source]) if isinstance(source, Scores) else self.fit_parts(*self.measure(source, keep))

    def measure(self, source: Any, keep: int = KEEP, progress: Progress | None = None) -> tuple[list[Scores], Gallery | None]:
        """What :meth:`fit_parts` takes: the scores of known-good items, and a small copy of ``keep`` of them.

        Raises:
            NoItems: there are none.
            InvalidSetting: ``keep`` is below 0.
        """
        items = self.model.modality.items(source)
        wanted, parts, kept = chosen(len(items), keep), [], []
        tiled, asked = self.model.tiles is not None, self.scorer.asked
        raw = bool(keep and asked.mapped and (tiled or not asked.combines_maps))  # places are told by all references together, except in tiles
        chunks = self.stream(items, maps=raw)
        for part, scores, found in progress(chunks, "calibrating", len(items) if tiled else -(-len(items) // self.model.chunk)) if progress else chunks:
            first, heights = sum(map(len, parts)), [None if one is None else spread(one.map) if tiled else one.map for one in found]
            kept += [self._kept(part[i], scores.digests[i], heights[i]) for i in range(len(part)) if first + i in wanted and scores.readable[i]]
            parts.append(scores)
        return parts, Gallery.of([one for one in kept if one is not None], self.scorer.fingerprint)

    def join(self, source: Any, progress: Progress | None = None) -> Detector:
        """A detector calibrated on the references that are there and on more known-good items; only the new ones are asked about.

        To the bit what :meth:`fit` makes of all of them at once, in that order: items that are references already count once, and
        of the pictures kept to be looked at those stay that are there. Scores made before are taken too. Who looks at the new
        items' p-values first and joins those that look good breaks the promise: join what is known to be good otherwise.

        Raises:
            NotCalibrated: there are no references to join.
            what :meth:`fit` raises.

        >>> import numpy as np, diffident as dd
        >>> good = np.random.default_rng(0).uniform(0.4, 0.6, (120, 8, 8))
        >>> detector = dd.Detector(dd.train(good[:60], network="none")).fit(good[60:100])
        >>> len(detector.join(good[90:]).calibrated)
        60
        """
        had = self.calibrated.references
        new, gallery = ([source], None) if isinstance(source, Scores) else self.measure(source, 0 if self.gallery else KEEP, progress)
        return self.fit_parts([had, *new], gallery)

    def _kept(self, item: Item, digest: str, heights: np.ndarray | None) -> Kept | None:
        """Read once more: few are kept, and holding the others meanwhile would cost more."""
        try:
            return Kept(item.name, digest, self.model.modality.open(item).values, heights)
        except ItemError:  # gone since it was scored; it is only missing from the pictures
            return None

    def stream(self, source: Any, maps: bool = False, policy: Policy | None = None) -> Iterator[tuple[Items, Scores, Sequence[Where | None]]]:
        """A chunk at a time: items, their scores, and where each is strange if asked for; otherwise None for each.

        Args:
            policy: whose level marks places, where a calibrated recipe combines maps; the detector's own if there is none.

        Raises:
            NotPerElement: maps of a recipe that has none.
        """
        if not maps:
            return ((items, scores, [None] * len(items)) for items, scores in self.scorer.stream(source))
        if self.calibration is None or not self.calibration.mapped:
            return ((items, scores, [Where(one) for one in found]) for items, scores, found in self.scorer.stream_maps(source))
        level = self.settled(policy).flag or 0.0
        if self.model.tiles is not None:
            return ((items, scores, self._marked(scores, maps, level)) for items, scores, maps in self.scorer.stream_maps(source))
        return ((items, scores, self.located(scores, lift, level)) for items, scores, lift in self.scorer.stream_lifted(source))

    def located(self, scores: Scores, lift: Lift, level: float) -> list[Where]:
        """Where each item of a chunk stands out, and what is marked at that level.

        Raises:
            NotPerElement: the recipe does not combine maps.
        """
        places = self.calibrated.places(scores)
        fine, blocky = lift(places.heights), lift(places.heights, "nearest")
        size = self.model.modality.shape[1:]
        stored = [(one.get("height", size[0]), one.get("width", size[-1])) for one in scores.vitals]
        return [where(fine[i], blocky[i], places, i, level, stored[i]) if scores.readable[i] else Where(fine[i]) for i in range(len(scores))]

    def _marked(self, scores: Scores, maps: np.ndarray, level: float) -> list[Where]:
        """Of one item in tiles, its map and what of it is marked: at a level that its parts share."""
        if not scores.readable[0]:
            return [Where(maps[0])]
        found, parts, size = self.calibrated.places(scores), self.calibrated.parts(scores), scores.vitals[0]
        count = 1.0 if parts is None else float(parts[0])
        return [in_parts(where(maps[0], maps[0], found, 0, level / count, (size["height"], size["width"])), count)]

    def fit_parts(self, parts: Sequence[Scores], gallery: Gallery | None = None) -> Detector:
        """The same from scores made before, by this model and recipe, on one machine or many.

        Without a ``gallery``, of the one that is there those items stay that are still references.

        Raises:
            ForeignScores: another model or recipe made them; and what :meth:`fit` raises.
        """
        scores = Scores.merge(parts)
        scores.require(self.scorer.fingerprint, "this model and recipe")
        known = references(scores, self.model)
        self.policy.resolve_each({kind: known.kinds.count(kind) for kind in self.model.kinds or ("",)})
        limits = self.model.modality.limits(list(known.vitals))
        depth = Depth(tuple(limit for limit in limits if self.model.tiles is None or limit.name not in SIDES))
        looked_at, calibration = (
            gallery or self.gallery,
            Calibration(known, self.calibration.combiner if self.calibration else combiner(recipe(self.recipe).combine)),
        )
        shown = looked_at.among(frozenset(known.digests)) if looked_at else None
        if shown is not None and calibration.mapped and self.model.tiles is None:
            kept = known.select([digest in set(shown.digests) for digest in known.digests])
            shown = shown.coloured(calibration.places(kept).heights, self.scorer.fingerprint)
        return replace(self, calibration=calibration, depth=depth, gallery=shown)

    def opened(self, source: Any, kind: str = "") -> Items:
        """The items of a source as the model's modality finds them, all of one kind if it is named.

        Raises:
            UnknownKind: the model does not know that kind.
            NoItems: there are none.
        """
        items = self.model.modality.items(source)
        if kind:
            self.model.require(kind)
        return items.of_kind(kind) if kind else items

    def __repr__(self) -> str:
        known = "not calibrated" if self.calibration is None else f"{len(self.calibration)} references, {self.settled()}"
        return f"Detector({self.model.name!r}, {recipe(self.recipe).name!r}, {known})"

    def judge(self, source: Any, policy: Policy | None = None, maps: bool = False, kind: str = "") -> Iterator[tuple[Item, Verdict]]:
        """Each item with its verdict, as they come; the same alone, in any order and in any company.

        Args:
            source: a folder, a path, a list, an array.
            policy: instead of the detector's own.
            maps: whether each verdict says where the item is strange; from the same answers of the model.
            kind: of all items, where the model tells kinds apart; otherwise the first folder of each item's name is its kind.

        Raises:
            UnknownKind: the model does not know the kind that was named.
            NotCalibrated: ``fit`` was not called.
            NotPerElement: maps of a recipe that has none.
            NoItems: there are none.
            TooFewReferences: a level that this calibration cannot reach.
        """
        settled = self.settled(policy)
        chunks = self.stream(self.opened(source, kind), maps, settled)
        return (
            (item, replace(verdict, where=found) if maps else verdict)
            for items, scores, all_found in chunks
            for item, verdict, found in zip(items, self.decide(scores, settled), all_found, strict=True)
        )

    def decide(self, scores: Scores, policy: Policy | None = None) -> Iterator[Verdict]:
        """One verdict per row of scores that were made before, each by itself.

        Raises:
            ForeignScores: another model or recipe made them; and what :meth:`judge` raises.
        """
        settled = self.settled(policy)
        return verdicts_of(scores, self._judged(scores, settled.depth), settled, self.depth, self.seen)

    def _judged(self, scores: Scores, depth: float) -> Judged:
        judged = self.calibrated.judge(scores)
        if depth:
            judged = judged.declining(self.calibrated.beyond(scores, depth, self.model.modality.grain))
        return judged.somewhere() if any(step.moves for step in self.model.steps) else judged

    def judge_all(self, source: Any, fdr: float | None = None, policy: Policy | None = None, kind: str = "") -> Verdicts:
        """All items at once. With ``fdr``, of the items flagged at most that share is good on average (Benjamini-Hochberg).

        Scores made before are judged again without asking the model, in milliseconds: at other levels, or by other references.

        Raises:
            TooFewReferences: a level or a batch that this calibration cannot serve; and what :meth:`judge` raises.
            InvalidSetting: both ``fdr`` and a policy.
        """
        if fdr is not None and policy is not None:
            raise InvalidSetting("fdr decides about the batch as a whole and a policy about each item; give one of them")
        if isinstance(source, Scores) and kind:
            raise InvalidSetting(f"scores say of what kind each item is, so that {kind!r} cannot be said of all of them; leave it out")
        calibration = self.calibrated
        scores = source if isinstance(source, Scores) else self.scorer(self.opened(source, kind))
        if fdr is not None:
            declined = self.settled().depth if self.policy.depth else 0.0
            found = batch_verdicts_of(scores, self._judged(scores, declined), fdr, self.depth, self.seen, declined=declined)
            return replace(found, kinds=self.model.kinds)
        settled = self.settled(policy)
        verdicts = tuple(verdicts_of(scores, self._judged(scores, settled.depth), settled, self.depth, self.seen))
        return Verdicts(verdicts, scores.columns, settled.promise_each(calibration.kinds), self.model.kinds)

    def __call__(self, item: Any, policy: Policy | None = None, kind: str = "") -> Verdict:
        """The verdict on a single item: a path or an array of one item.

        Raises:
            what :meth:`judge` raises.
        """
        return next(self.judge(Items.single(item), policy, kind=kind))[1]

    def settled(self, policy: Policy | None = None) -> Policy:
        """The policy with its level settled for these references; of several kinds, for the kind with the fewest."""
        asked = policy or self.policy
        if asked.depth and not self.model.modality.grain:
            kind = self.model.modality.name
            raise InvalidSetting(f"nothing of a {kind} is measured by which it could be declined as out of depth; leave out the depth level (--depth)")
        return asked.resolve_each(self.calibrated.kinds)

    def promise(self, policy: Policy | None = None) -> str:
        """What is promised about good items, and about those of each kind where there are several, in one plain sentence."""
        return self.settled(policy).promise_each(self.calibrated.kinds)

    @property
    def calibrated(self) -> Calibration:
        """The calibration.

        Raises:
            NotCalibrated: there is none.
        """
        if self.calibration is None:
            raise NotCalibrated(
                "this detector has seen no known-good items, so no p-value can be given; call fit(known_good) first, or: diffident fit MODEL KNOWN_GOOD"
            )
        return self.calibration

    @cached_property
    def seen(self) -> Mapping[str, str]:
        """Digest -> why an item of that content is not judged."""
        trained = dict.fromkeys(self.model.seen, "trained on: the model has seen this very item, so its p-value would mean nothing")
        return trained | dict.fromkeys(self.calibrated.references.digests, "is a reference: this very item is one of the known-good it would be compared with")

    def save(self, folder: str | Path) -> Path:
        """Write model, recipe, policy and calibration to one folder, whole or not at all.

        Raises:
            OutputError: the place is taken, cannot be written, or the disk is full.
        """
        return write_folder(folder, self._fill)

    def _fill(self, place: Path) -> dict[str, Any]:
        facts = store.fill(place, self.model)
        said = {"recipe": recipe(self.recipe).config(), "policy": self.policy.config()}
        if self.calibration is not None:
            self.calibration.references.save(place / REFERENCES)
            if self.gallery is not None:
                self.gallery.save(place / GALLERY)
            said |= {"witness": self.scorer.witness().tolist()}
            said |= {"combiner": self.calibration.combiner.to_config(), "depth": self.depth.to_config(), "references": len(self.calibration)}
        return facts | {"detector": said}

    @staticmethod
    def load(folder: str | Path, precision: str = "auto") -> Detector:
        """Read a detector's folder, or a bundled model by its name. A folder of a model alone gives a detector that still wants ``fit``.

        Args:
            precision: see ``diffident.load``.

        Raises:
            NotAModel, DamagedModel, NewerFormat: see ``diffident.load``.
            ForeignScores: the calibration belongs to another model or recipe.
            DifferentAnswers: on this machine, in this precision, the model or its statistics are not what they were.
        """
        folder = placed(folder)
        facts = read_folder(folder)
        bare, said = Detector._without_calibration(folder, facts, precision), facts.get("detector")
        if said is None or "combiner" not in said:
            return bare
        try:
            model, asked, policy = bare.model, bare.recipe, bare.policy
            combine = combiner(said["combiner"]["name"], said["combiner"]["settings"])
            if said["combiner"].get("version", 1) != combine.version:
                raise DifferentAnswers(f"{folder} was calibrated by another version of {combine.name!r}, which would decide otherwise; fit it again")
            calibration = Calibration(Scores.load(Path(folder) / REFERENCES), combine)
            kept = Gallery.load(Path(folder) / GALLERY) if GALLERY in facts["files"] else None  # a folder of an earlier version has none
            made = Detector(model, asked, policy, calibration, Depth.from_config(said["depth"]), kept)
            if "witness" in said and facts["made_on"] != stamp(model.precision):
                check_rows(Path(folder), np.array(said["witness"]), made.scorer.witness(), calibration.references.values)
            return made
        except (KeyError, TypeError) as error:
            raise DamagedModel(f"{folder} describes its detector incompletely ({type(error).__name__}: {error}); fit it again") from error
        except ForeignScores as error:
            raise ForeignScores(f"{folder} holds a calibration of another model or recipe: {error}") from error

    @staticmethod
    def uncalibrated(folder: str | Path, precision: str = "auto") -> Detector:
        """A detector's folder without its calibration: model, recipe and policy, to be fitted anew, also where the calibration no longer holds.

        Raises:
            NotAModel, DamagedModel, NewerFormat, DifferentAnswers: see ``diffident.load``.
        """
        folder = placed(folder)
        return Detector._without_calibration(folder, read_folder(folder), precision)

    @staticmethod
    def _without_calibration(folder: str | Path, facts: Mapping[str, Any], precision: str) -> Detector:
        model, said = store.restore(Path(folder), facts, precision), facts.get("detector")
        try:
            return Detector(model) if said is None else Detector(model, recipe_from(said["recipe"]), Policy(**said["policy"]))
        except (KeyError, TypeError) as error:
            raise DamagedModel(f"{folder} describes its detector incompletely ({type(error).__name__}: {error}); fit it again") from error
