"""Promises of the worlds in which a failure is known: verdicts are exact, real items pass, what is broken is told, samples repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import _introspection_heads as heads
from benchmarks import _introspection_signals as signals
from benchmarks import introspection, known_truth, shapes
from benchmarks.known_truth import BETWEEN, FAILURE, GOOD, MODES, Case
from diffident.denoiser import GaussianMixture
from diffident.model import Model
from diffident.walks import Sample


def at(world: known_truth.Modes, rows: np.ndarray) -> torch.Tensor:
    """Rows of the table where the model lives."""
    return torch.from_numpy(np.stack([world.modality.open(item).values for item in world.modality.items(rows)]))


@pytest.mark.parametrize("world", MODES.values(), ids=str)
def test_a_verdict_is_the_distance_to_the_nearest_mode(world):
    centre, away = np.array(world.centres[0]), np.eye(len(world.centres[0]))[0] * world.deviation
    rows = np.stack([centre, centre - 2.9 * away, centre - 3.1 * away, centre - 5.9 * away, centre - 6.1 * away])
    assert world.verdict(at(world, rows)).tolist() == [GOOD, GOOD, BETWEEN, BETWEEN, FAILURE]


@pytest.mark.parametrize("world", MODES.values(), ids=str)
def test_real_rows_are_exact_samples_and_lie_where_the_model_lives(world):
    real = world.real(20_000, 0)
    assert real.shape == (20_000, *world.modality.shape)
    assert (world.verdict(real) == FAILURE).sum() == 0
    d = len(world.centres[0])
    within = {1: 0.9973, 2: 1 - np.exp(-4.5)}[d]  # of a Gaussian within three deviations
    assert (world.verdict(real) == GOOD).mean() == pytest.approx(within, abs=0.003)
    assert real.std(0).flatten().tolist() == pytest.approx([1 / 3] * d, rel=0.02)
    assert not torch.equal(real, world.real(20_000, 1)) and not torch.equal(real, world.learns()[:20_000])


def test_real_pictures_of_shapes_pass_and_show_every_combination():
    whole = shapes.pictures(2000, 7)
    faults = [shapes.fault(one) for one in whole]
    assert sum(map(bool, faults)) <= 10  # 99.5 % at least
    filled = np.stack([panel.sum((1, 2)) > shapes.AREA / 2 for panel in np.split(whole, 3, axis=2)], axis=1)
    assert len(np.unique(filled, axis=0)) == 8


def panels(*of: np.ndarray) -> np.ndarray:
    empty = np.zeros((shapes.SIDE, shapes.SIDE))
    return np.concatenate([*of, *[empty] * (3 - len(of))], axis=1)


def shape(kind: str, x: float = 6.0, y: float = 6.3) -> np.ndarray:
    return shapes.drawn(kind, np.array([[x, y]]))[0]


EMPTY = np.zeros((shapes.SIDE, shapes.SIDE))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (panels(), ""),
        (panels(shape("triangle"), shape("square"), shape("pentagon")), ""),
        (panels(EMPTY, shape("square", 4.1, 8.2)), ""),
        (panels(shape("triangle") * 0.95 + 0.02), ""),  # a little grey is no fault
        (panels(shape("square")), "a square where a triangle may be"),
        (panels(EMPTY, shape("pentagon")), "a pentagon where a square may be"),
        (panels(EMPTY, EMPTY, shape("triangle")), "a triangle where a pentagon may be"),
        (panels(np.maximum(shape("square", 3, 3), shape("square", 9.5, 9.5)).T), "2 things where one triangle may be"),
        (panels(EMPTY, np.maximum(shape("square", 3, 3), shape("square", 9.5, 9.5))), "2 things where one square may be"),
        (panels(EMPTY, shape("square") * (np.arange(shapes.SIDE) < 6)), "malformed where a square may be"),
        (panels(shape("triangle")[::-1]), "malformed where a triangle may be"),
        (panels(EMPTY, np.maximum(shape("square"), shape("triangle"))), "malformed where a square may be"),
        (panels(EMPTY, 0.4 * shape("square")), "traces where a square may be"),
        (np.roll(panels(EMPTY, shape("square")), 6, axis=1), "malformed where a square may be; malformed where a pentagon may be"),
    ],
)
def test_what_is_wrong_with_a_picture_of_shapes_is_told(picture, words):
    assert shapes.fault(picture) == words


def test_shapes_are_equally_large_and_told_apart():
    for kind in shapes.KINDS:
        panel = shape(kind)
        assert panel.sum() == pytest.approx(shapes.AREA, rel=0.02)
        overlaps = {other: shapes._overlap(panel, other) for other in shapes.KINDS}
        assert overlaps.pop(kind) > 0.97 and max(overlaps.values()) < shapes.OVERLAP


def exact(world: known_truth.Modes) -> Model:
    """A model that knows the world exactly."""
    centres = at(world, np.array(world.centres))
    units = world.deviation / (3 * torch.tensor(world.modality.deviation))
    assert units.std(correction=0) < 1e-6  # round modes stay round
    return Model(GaussianMixture(centres, torch.full((len(centres),), float(units[0]) ** 2)), world.modality)


def test_samples_of_an_exact_model_are_good_and_repeat_whatever_their_number():
    world = MODES["modes 1-2-4-5"]
    model, walk = exact(world), known_truth.sampler("ddpm", 50, 1 / 3)
    films = list(known_truth.generate(model, walk, 250, 3, chunk=100))
    assert [len(samples) for samples, _ in films] == [100, 100, 50]
    samples = torch.cat([samples for samples, _ in films])
    assert (world.verdict(samples) == FAILURE).mean() < 0.02
    fewer = torch.cat([samples for samples, _ in known_truth.generate(model, walk, 150, 3, chunk=100)])
    assert torch.equal(samples[:150], fewer) and not torch.equal(films[0][0], films[1][0])
    assert isinstance(films[0][1].walk, Sample) and len(films[0][1]) == 50


def test_every_world_length_and_sampler_is_a_case_of_its_own_name():
    names = [case.name for case in introspection.every()]
    assert len(set(names)) == len(names)
    assert "25 Gaussians, under-trained, ddpm 1000" in names and "shapes, complete, ddim 25" in names
    assert [case.name for case in introspection.every("8 on a ring, complete, ddim 10")] == ["8 on a ring, complete, ddim 10"]


class Known(Case):
    """A case whose model is exact: nothing is trained."""

    model = exact(MODES["8 on a ring"])
    unit = 1 / 3


def test_every_signal_reads_one_number_a_sample_and_the_oracle_is_perfect():
    case = Known(MODES["8 on a ring"], "complete", 0, "ddim", 10)
    inside = ("activations", "head", "Laplace")  # these see a network, and the exact model is none
    names = [name for name in signals.SIGNALS if not name.startswith(inside)]
    (samples, film), *_ = known_truth.generate(case.model, replace(case.sampler, seed=5), 400, 0)
    told = {name: signals.SIGNALS[name].make(case)(samples, film) for name in names}
    assert all(numbers.shape == (400,) and np.isfinite(numbers).all() for numbers in told.values())
    verdicts = np.where(np.arange(400) < 20, FAILURE, np.where(np.arange(400) < 30, BETWEEN, GOOD))
    seconds = {"samples": 0.0, "oracle": 0.0}
    row = introspection.row(case, "oracle", verdicts, (verdicts == FAILURE).astype(float), seconds)
    assert row["AUROC"] == row["removed at 99 %"] == row["removed, between good"] == 1 and row["E-AURC"] == 0
    few = introspection.row(case, "oracle", np.where(np.arange(400) < 3, FAILURE, GOOD), told["realism"], seconds)
    assert few["few"] == 3 and "AUROC" not in few


def test_a_window_of_levels_does_not_depend_on_the_sampler_and_is_never_empty():
    case = Known(MODES["8 on a ring"], "complete", 0, "ddim", 10)
    looks = signals.window(0.03, 0.15)
    for steps in (2, 5, 10, 100):
        (_, film), *_ = known_truth.generate(case.model, known_truth.sampler("ddim", steps, 1 / 3), 4, 0)
        found = looks(case, film)
        ratio = (film.sigma / film.alpha * 3)[found]
        assert len(found) >= 2 and (steps < 10 or (ratio.min() >= 0.03 and ratio.max() <= 0.15))


def test_the_error_of_an_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    failed, said = (rng.random(60) < 0.3).astype(int), np.round(rng.normal(size=60), 1)  # with ties
    wins = (said[failed == 1][:, None] > said[failed == 0]) + 0.5 * (said[failed == 1][:, None] == said[failed == 0])
    told = np.sqrt(sum(wins.mean(axis).var(ddof=1) / wins.shape[1 - axis] for axis in (0, 1)))
    assert introspection.deviation_of_auroc(failed, said) == pytest.approx(told, rel=1e-12)


def test_a_head_in_deviations_reads_the_same_at_levels_of_the_data():
    case = Known(MODES["8 on a ring"], "complete", 0, "ddim", 10)
    shipped, scaled, spread = (heads.asked(case, what).readings for what in (heads.SHIPPED, heads.SCALED, heads.SPREAD))
    assert [one.label for one in scaled] == [one.label for one in shipped] and spread[:-1] == scaled
    assert scaled[0].settings["high"] == pytest.approx(shipped[0].settings["high"] / 3)
    ratios = [[sigma / alpha for alpha, sigma in readings[-1].walk.levels] for readings in (shipped, scaled)]
    assert ratios[1] == pytest.approx([ratios[0][0] / 3])


def one(world: str, signal: str, figure: float, sampler: str = "ddim 50") -> introspection.Row:
    figures = dict.fromkeys((*introspection.FIGURES, "removed, between good", "error of AUROC", "failures"), figure)
    return {"world": world, "length": "complete", "sampler": sampler, "signal": signal, **figures}


def test_what_does_not_beat_trajectory_variance_is_marked_and_counted():
    rows = [one("8 on a ring", name, 0.9 if name in introspection.OURS else 0.8, sampler) for name in signals.SIGNALS for sampler in ("ddim 50", "ddpm 10")]
    rows += [one("25 Gaussians", name, 0.6 if name in introspection.OURS else 0.7) for name in signals.SIGNALS] + [
        {**one("rotated grid", "oracle", 1.0), "few": 3}
    ]
    settings = introspection.ranked(rows, tuple(MODES))
    assert len(settings) == 3
    assert introspection.line(introspection.OURS[0], list(settings.values()))["beats variance in"] == 2
    marked = [told for told in introspection.single(settings) if " *" in told]
    assert len(marked) == 1 and marked[0].count(" *") == len(introspection.OURS)
    text = "\n".join(introspection.tables(rows))
    assert "none of these beats it: 25 Gaussians, complete, ddim 50." in text and "rotated grid, complete, ddim 50: 3 failures" in text
    moved = [told for told in introspection.moved(settings) if ", moved" in told]
    assert len(moved) == len(signals.MOVED) * len(signals.READS) and all("| 1 |" in told for told in moved)  # home is left out
