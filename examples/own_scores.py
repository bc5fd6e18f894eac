"""Anybody's scores, calibrated: two home-made detectors, numpy alone, no torch and no images. Run: python examples/own_scores.py

Put in their place what PyOD, scikit-learn or a colleague gives you: one row per item, one column per detector. The model
behind the scores must not have been fitted on the references.
"""

import numpy as np

from diffident.calibration import Gaussian, evidence_p, false_alarm_bound, false_discoveries
from diffident.verdict import Policy


def scores(items: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Two numbers per item, larger is stranger: distance to the centre, and to the fifth neighbour among the items learned from."""
    centre = np.linalg.norm(items - learned.mean(axis=0), axis=1)
    apart = np.linalg.norm(items[:, None] - learned[None], axis=2)
    return np.stack([centre, np.sort(apart, axis=1)[:, 4]], axis=1)


def main() -> None:
    rng = np.random.default_rng(0)
    learned, known_good = rng.normal(size=(300, 4)), rng.normal(size=(199, 4))
    incoming = np.concatenate([rng.normal(size=(90, 4)), rng.normal(size=(10, 4)) + 3.0])  # the last ten are strange
    tails = ("upper", "upper")
    references, items = scores(known_good, learned), scores(incoming, learned)

    p = Gaussian().p_values(references, items, tails)  # both columns together: one p-value per item
    policy = Policy(flag=0.01, abstain=0.05).resolve(len(references))
    print(policy.promise(len(references)))
    for name in ("flag", "abstain", "accept"):
        who = [i for i, value in enumerate(p.tolist()) if policy.decide(value) == name]
        print(f"{name:>8}: {len(who):3d}, of them strange: {sum(i >= 90 for i in who)}")

    print(f"one item, each column by itself: {evidence_p(references, items[-1:], tails)[0]}")
    called = false_discoveries(p, 0.1, n=len(references))
    print(f"as a batch, at most 10 % false on average: {called.sum()} called, {called[:90].sum()} of them good")
    print(f"this calibration, with 90 % confidence, flags at most {false_alarm_bound(len(references), 0.01):.3f} of good items")


if __name__ == "__main__":
    main()
