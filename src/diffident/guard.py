"""Judges its own outputs: a generator that releases what it trusts, withholds what it does not, and says at which rate it errs."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import store
from .calibration import Drift, conformal_p, evidence_p
from .calibration.head import Head
from .detector import Detector
from .errors import DamagedModel, ForeignScores, InvalidSetting, NotCalibrated
from .folder import read_folder, write_folder
from .generators import Attempt, Watch, after
from .generators.choice import generator_of
from .generators.own import OwnGenerator
from .generators.pipeline import PipelineGenerator
from .introspection import Heard, Introspection, alike, asked_of, together
from .model import Model
from .policing import Policed, policed
from .recipes import Recipe, recipe_from
from .release import Release
from .requests import Request, requests, seeds_of
from .scores import Scores
from .trial import Trial, empty, keep_pictures, names
from .verdict import Decision, Verdict, sentence
from .walks import Sample, walk_from

REFERENCES, ARRAYS = "references.safetensors", "guard.safetensors"

#: What a stream is told of a sample that was given up: stranger than any number.
FAR = 1e9

#: Shows progress: takes the steps, what is being done and how many steps there are; gives the steps back one by one.
Progress = Callable[..., Iterable[Any]]


class Served(NamedTuple):
    """What came of one request.

    Attributes:
        item: what was made; None where nothing is released.
        verdict: ``accept`` (released), ``flag`` (withheld) or ``abstain`` (nothing was tried, or nothing can be promised).
        request: what was asked.
        attempts: every attempt, in order; the last is the one that is released.
    """

    item: Any
    verdict: Verdict
    request: Request
    attempts: tuple[Attempt, ...]


class Guard:
    """A generator that may decline.

    A guard makes a sample, reads off it whether it can be trusted, and releases it, or tries again with a fresh seed, or withholds. What it
    promises holds for *requests* like those of its trial, served by the whole procedure with its tries and early exits: with
    ``Release(risk=...)``, that of what is released at most that share fails; with ``Release(withhold=...)``, that at most that share of
    the requests is withheld. ``fit`` changes the guard that it is called on, and returns it.

    Args:
        source: a model of our own or its folder, a pipeline of diffusers, or any :class:`diffident.generators.Generator`.
        release: the policy. Changed later, it wants ``fit`` again.
        recipe: what is read off a sample. None: ``introspection``, or ``introspection-outside`` where the denoiser is no network, or
            ``introspection-path``, which asks nothing, where no model is known to be asked.
        sampler: of a model of our own; None: DDIM in 50 steps.
        model: of a pipeline, what is asked about its finished samples; see ``diffident.adapters.diffusers.model``.
        gate: a detector fitted on items that requests may bring (to be filled in, to start from); a request whose item it does not accept is
            declined before anything is made.
        arguments: of a pipeline, what each call is given beside the request: steps, guidance, size.

    Raises:
        InvalidSetting: a source that makes no samples, or settings that do not go with it.

    >>> import numpy as np, diffident as dd
    >>> from diffident.levels import cosine
    >>> from diffident.walks import Sample
    >>> model = dd.train(np.random.default_rng(0).uniform(0.3, 0.7, (64, 8, 8)), network="none")
    >>> guard = dd.Guard(model, dd.Release(withhold=0.2), sampler=Sample("ddim", cosine(8)))
    >>> guard.fit(guard.trial(n=60)).promise[:48]
    'At most 20 % of requests are withheld on average'
    """

    def __init__(
        self,
        source: Any,
        release: Release | None = None,
        recipe: str | Recipe | None = None,
        *,
        sampler: Sample | None = None,
        model: Model | None = None,
        gate: Detector | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.generator = generator_of(source, sampler, model, arguments)
        self.release, self.gate = release or Release(), gate
        self.introspection = Introspection(self.generator, asked_of(recipe, self.generator), _mark(gate))
        self.policed: Policed | None = None
        self.drift: Drift | None = None

    def __repr__(self) -> str:
        return f"Guard({self.introspection.recipe.name!r}, {self.release}, {'not fitted' if self.policed is None else self.promise!r})"

    @property
    def head(self) -> Head | None:
        """The head that the model brings, if it reads what this guard's recipe says."""
        brought = None if self.generator.model is None else self.generator.model.head
        return brought if brought is not None and brought.reads == self.introspection.recipe.fingerprint else None

    def trial(self, wishes: Any = None, n: int | None = None, out: str | Path | None = None, seed: int = 0, progress: Progress | None = None) -> Trial:
        """Make samples for people to look at: ``n`` requests drawn from the wishes, or each wish once, as often tried as the policy allows.

        Nothing is given up or withheld, so that one trial serves every policy of no more tries.

        Args:
            wishes: conditions or requests as they will come; None where nothing in particular is asked for.
            out: a folder for the pictures and a labels file to be filled in with ``good`` or ``bad``.
            seed: of the draw and of all samples.

        Raises:
            OutputError: the folder is there already.
            InvalidSetting: a request that cannot be served.
        """
        place = None if out is None else empty(out)
        asked, tries = requests(wishes, n, seed, "trial"), self.release.tries
        declined, labels = [self._declines(one) for one in asked], names(len(asked), tries)
        each = [one for one in asked for _ in range(tries)]
        seeds = [one for i in range(len(asked)) for one in seeds_of(seed, i, tries, "trial")]
        parts: list[tuple[Scores, Scores | None]] = []
        starts = range(0, len(each), self._at_once)
        try:
            for start in progress(starts, "generating", len(starts)) if progress else starts:
                some = slice(start, start + self._at_once)
                made = sorted(self.generator.attempts(each[some], seeds[some]), key=lambda one: one.index)
                if place is not None:
                    keep_pictures(place, {labels[start + one.index]: self.generator.picture(one.output) for one in made})
                parts.append(self._read(made, each[some], labels[some]))
        except KeyboardInterrupt:
            if place is not None and sum(len(whole) for whole, _ in parts) >= tries:
                self._trial(asked, declined, parts).save(place)
            raise
        trial = self._trial(asked, declined, parts)
        return trial if place is None else replace(trial, folder=trial.save(place))

    def _trial(self, asked: Sequence[Request], declined: Sequence[str], parts: Sequence[tuple[Scores, Scores | None]]) -> Trial:
        """The trial of as many whole requests as were tried."""
        tries, whole = self.release.tries, Scores.merge([one for one, _ in parts])
        half = [one for _, one in parts if one is not None]
        count = len(whole) // tries
        some = np.arange(count * tries)
        half_way = Scores.merge(half).select(some) if half else None
        return Trial(whole.select(some), tries, tuple(one.label for one in asked[:count]), half_way, self.release.share, tuple(declined[:count]))

    def _read(self, made: Sequence[Attempt], asked: Sequence[Request], labels: Sequence[str]) -> tuple[Scores, Scores | None]:
        """What is read off some attempts, and half-way, in their order."""
        groups = alike(made)
        heard = [self.introspection.hear([made[i] for i in rows], [asked[i].kind for i in rows], [labels[i] for i in rows]).scores for rows in groups]
        half = [self._half_way([made[i] for i in rows]) for rows in groups]
        back = np.argsort(np.concatenate([np.array(rows) for rows in groups]))
        some = [one for one in half if one is not None]
        return Scores.merge(heard).select(back), Scores.merge(some).select(back) if some else None

    def fit(self, trial: Trial | str | Path, labels: Any = None, seed: int = 0) -> Guard:
        """Make the policy hold, by a trial of this guard's own. Returns the guard itself.

        Args:
            trial: or its folder.
            labels: see :meth:`diffident.trial.Trial.labels`. Without any, only how often samples are withheld is bounded.
            seed: of which third of the trial teaches and which part calibrates.

        Raises:
            NotLabelled: ``Release(risk=...)`` without labels.
            ForeignScores: another generator or recipe made the trial.
            TooFewReferences: too few requests; the message gives the number needed.
        """
        made = trial if isinstance(trial, Trial) else Trial.load(trial)
        made.scores.require(self.introspection.fingerprint, "this guard")
        return self._settle(policed(made, labels, self.release, self.head, seed))

    def _settle(self, fitted: Policed) -> Guard:
        self.policed, self.drift = fitted, Drift(np.minimum(fitted.history, FAR))
        return self

    def __call__(self, wish: Any = None, seed: int | None = None) -> tuple[Any, Verdict]:
        """What was made for one request, None where nothing is released; and the verdict.

        Args:
            wish: a condition or a :class:`diffident.requests.Request`.
            seed: of all its attempts; None takes a fresh one.

        Raises:
            NotCalibrated: the guard was not fitted, or its policy was changed since.
        """
        if isinstance(wish, list | tuple):
            raise InvalidSetting(f"a call serves one wish and was given {len(wish)}; for several: guard.generate(wishes)")
        served = next(self.generate(wish, seed=seed))
        return served.item, served.verdict

    def generate(self, wishes: Any = None, n: int | None = None, seed: int | None = None, progress: Progress | None = None) -> Iterator[Served]:
        """Serve requests, one after the other: ``n`` drawn from the wishes, or each wish once.

        Raises:
            NotCalibrated: the guard was not fitted, or its policy was changed since.
        """
        fitted, root = self.fitted, secrets.randbits(62) if seed is None else seed
        asked = requests(wishes, n, root)
        starts = range(0, len(asked), self._at_once)
        for start in progress(starts, "generating", len(starts)) if progress else starts:
            some = asked[start : start + self._at_once]
            yield from self._serve(some, [seeds_of(root, start + i, fitted.release.tries) for i in range(len(some))], start, fitted)

    @property
    def fitted(self) -> Policed:
        """What a trial has taught.

        Raises:
            NotCalibrated: nothing did, or the policy was changed since.
        """
        if self.policed is None:
            raise NotCalibrated(
                "this guard has seen no trial, so nothing can be promised; call fit(trial(n=500)) first, or: diffident generate MODEL -o trial --unreviewed"
            )
        if self.policed.release != self.release:
            raise NotCalibrated(
                f"this guard was fitted for {self.policed.release} and its policy is {self.release} now; what was bounded is another thing: fit again"
            )
        return self.policed

    @property
    def promise(self) -> str:
        """What is promised, in one plain sentence."""
        return self.fitted.release.promise(self.fitted.certified, bool(self.fitted.labelled))

    def _serve(self, asked: Sequence[Request], seeds: Sequence[Sequence[int]], first: int, fitted: Policed) -> list[Served]:
        """Some requests, no more than are asked about at once, each through the whole procedure."""
        declined = {i: why for i, one in enumerate(asked) if (why := fitted.nothing or self._declines(one))}
        done = {i: Served(None, self._unmade(asked[i], first + i, why), asked[i], ()) for i, why in declined.items()}
        pending, tried = [i for i in range(len(asked)) if i not in done], {i: list[Attempt]() for i in range(len(asked))}
        watch = Watch(fitted.share, self._hopeless) if fitted.half_way is not None else None
        for turn in range(fitted.release.tries):
            if not pending:
                break
            made = self.generator.attempts([asked[i] for i in pending], [seeds[i][turn] for i in pending], watch)
            attempts = {pending[one.index]: one for one in made}
            judged = self._judged(attempts, asked, first, turn + 1, fitted)
            for i in pending:
                tried[i].append(attempts[i])
                if self.drift is not None and turn == 0:
                    self.drift.update(min(judged[i].score, FAR))
                done[i] = Served(self.generator.handed(attempts[i].output) if judged[i].decision == "accept" else None, judged[i], asked[i], tuple(tried[i]))
            pending = [i for i in pending if judged[i].decision != "accept"]
        return [done[i] for i in range(len(asked))]

    def _judged(self, attempts: Mapping[int, Attempt], asked: Sequence[Request], first: int, turn: int, fitted: Policed) -> dict[int, Verdict]:
        """A verdict on each attempt at the requests of those places."""
        finished = [i for i, one in attempts.items() if not one.abandoned]
        found = {i: self._given_up(asked[i], first + i, turn, fitted) for i in attempts if i not in finished}
        for some in alike([attempts[i] for i in finished]):
            rows = [finished[k] for k in some]
            heard = self.introspection.hear([attempts[i] for i in rows], [asked[i].kind for i in rows], [_name(asked[i], first + i) for i in rows])
            strangeness, known = fitted.head.score(heard.scores.values), fitted.references
            each = evidence_p(known.values, np.nan_to_num(heard.scores.values, nan=math.inf), known.tails)  # one by one takes longer than sampling
            found |= {i: self._verdict(heard, k, float(strangeness[k]), each[k], turn, fitted) for k, i in enumerate(rows)}
        return found

    def _verdict(self, heard: Heard, row: int, strangeness: float, each: np.ndarray, turn: int, fitted: Policed) -> Verdict:
        references, scores = fitted.references, heard.scores
        strangeness = math.inf if math.isnan(strangeness) else strangeness
        p = float(conformal_p(fitted.strangeness, np.array([strangeness]))[0])
        decision: Decision = "accept" if strangeness < fitted.certified.threshold else "abstain" if fitted.nothing else "flag"
        loudest = int(np.argmin(each))
        says = scores.says[loudest] + _at(heard, row, scores.columns[loudest].partition("[")[0]) if decision != "accept" else ""
        because = sentence("accept" if decision == "accept" else "flag", p, len(references), says, "")
        reason = ""
        if decision == "abstain":
            reason = because = fitted.nothing
        elif decision == "flag":
            because = f"withheld after {turn} {'try' if turn == 1 else 'tries'}: {because}"
        evidence, raw = (dict(zip(scores.columns, map(float, of), strict=True)) for of in (each, scores.values[row]))
        return Verdict(
            scores.names[row], decision, p, strangeness, evidence, raw, len(references), fitted.release.level, fitted.certified.bound, reason, because
        )

    def _given_up(self, request: Request, place: int, turn: int, fitted: Policed) -> Verdict:
        why = f"withheld after {turn} {'try' if turn == 1 else 'tries'}: given up half-way, where it was stranger than all but the strangest good ones"
        n, certified = len(fitted.references), fitted.certified
        return Verdict(_name(request, place), "flag", 1 / (n + 1), math.inf, {}, {}, n, fitted.release.level, certified.bound, "", why)

    def _unmade(self, request: Request, place: int, why: str) -> Verdict:
        level = self.release.level
        return Verdict(_name(request, place), "abstain", math.nan, math.nan, {}, {}, 0, level, math.nan, why, why, False)

    def _declines(self, request: Request) -> str:
        """Empty, or why the gate does not let a request through."""
        if self.gate is None or request.item is None:
            return ""
        verdict = self.gate(request.item)
        return "" if verdict.decision == "accept" else f"its condition is out of distribution (p = {verdict.p:.3g}): {verdict.because}"

    def _hopeless(self, film: Any) -> np.ndarray:
        fitted = self.fitted
        if fitted.half_way is None:
            return np.zeros(film.items, dtype=bool)
        return fitted.half_way.score(self.introspection.half_way(film).values) > fitted.hopeless

    def _half_way(self, made: Sequence[Attempt]) -> Scores | None:
        """What the way of each says half-way; None where nothing is given up, or nothing is read off the way."""
        if self.release.early is None or not self.introspection.watches:
            return None
        film = together([one.film for one in made])
        return self.introspection.half_way(film.until(after(self.release.share, len(film))))

    @property
    def _at_once(self) -> int:
        return 1 if self.generator.model is None else self.generator.model.chunk

    def save(self, folder: str | Path) -> Path:
        """Write policy, thresholds and, of a model of our own, the model itself to one folder. A pipeline stays where it is.

        Raises:
            NotCalibrated: the guard was not fitted.
            OutputError: the place is taken, cannot be written, or the disk is full.
        """
        fitted = self.fitted
        return write_folder(folder, lambda place: self._fill(place, fitted))

    def _fill(self, place: Path, fitted: Policed) -> dict[str, Any]:
        from safetensors.numpy import save as to_bytes

        own = self.generator if isinstance(self.generator, OwnGenerator) else None
        facts = {} if own is None else store.fill(place, own.of)
        fitted.references.save(place / REFERENCES)
        (place / ARRAYS).write_bytes(to_bytes({name: np.ascontiguousarray(of) for name, of in fitted.arrays().items()}))
        said = {"recipe": self.introspection.recipe.config(), "sampler": None if own is None else own.sampler.config(), "fitted": fitted.config()}
        return {**facts, "guard": {**said, "pipeline": self.generator.folder if isinstance(self.generator, PipelineGenerator) else ""}}

    @staticmethod
    def load(folder: str | Path, source: Any = None, *, model: Model | None = None, gate: Detector | None = None, arguments: Any = None) -> Guard:
        """Read what :meth:`save` wrote.

        Args:
            source: the pipeline, where it is one; a model of our own lies in the folder.
            model, gate, arguments: as they were given to the guard that was saved.

        Raises:
            NotAModel, DamagedModel, NewerFormat: see ``diffident.load``.
            ForeignScores: the pipeline, its model or its arguments are not those that were fitted.
        """
        from safetensors.numpy import load as from_bytes

        place = Path(folder)
        facts = read_folder(place)
        if "guard" not in facts:
            raise DamagedModel(f"{place} holds a model and no fitted guard; make a trial, fit a guard with it and save that")
        said = facts["guard"]
        sampler = None if said["sampler"] is None else walk_from(said["sampler"])
        if source is None and sampler is None:
            raise InvalidSetting(f"{place} guards a pipeline of diffusers, which lies elsewhere; give it: Guard.load({str(place)!r}, pipe)")
        own = store.restore(place, facts) if source is None else source
        fitted = Policed.from_config(said["fitted"], from_bytes((place / ARRAYS).read_bytes()), Scores.load(place / REFERENCES))
        made = Guard(own, fitted.release, recipe_from(said["recipe"]), sampler=sampler, model=model, gate=gate, arguments=arguments)  # type: ignore[arg-type]
        if made.introspection.fingerprint != fitted.references.fingerprint:
            raise ForeignScores(
                f"{place} was fitted for another generator: its pipeline, model, arguments, sampler or gate changed; make a trial of this one and fit again"
            )
        return made._settle(fitted)


def _mark(gate: Detector | None) -> str:
    """What identifies a gate: model, recipe, policy and the content of its references; empty without one."""
    if gate is None:
        return ""
    said = f"{gate.scorer.fingerprint} {gate.settled()} {' '.join(sorted(gate.calibrated.references.digests))}"
    return hashlib.sha256(said.encode()).hexdigest()


def _name(request: Request, place: int) -> str:
    return request.label or f"{place + 1:04d}"


def _at(heard: Heard, row: int, label: str) -> str:
    """Where a reading stands out most, in words; empty where it has no map."""
    found = heard.map(row, label)
    if found is None or found.size < 2 or not np.isfinite(found).any():
        return ""
    down, right = np.unravel_index(int(np.nanargmax(found)), found.shape)
    return f", most {100 * (right + 0.5) / found.shape[1]:.0f} % from the left and {100 * (down + 0.5) / found.shape[0]:.0f} % from the top"
