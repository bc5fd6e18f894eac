"""A generator that may decline: a trial, labels by a rule in place of a person, a fit, and what is released. Run: python examples/guard.py

The model has learned pictures of one bright square. Its sampler stops early, so that some samples show two squares at once. The rule
is told of the trial alone: afterwards failures are told by the way on which a sample came about and by what the model says of it.
"""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import diffident as dd
from diffident.levels import angular
from diffident.walks import Sample

#: A last look where there is 0.6 times as much noise as signal.
HURRIED = angular([0.6, 1.4, 2.0, 3.0, 5.0, 10.0, 40.0])


def squares(n: int) -> np.ndarray:
    """Pictures, (n, 8, 8), of a bright square somewhere on dark ground."""
    rng = np.random.default_rng(0)
    made = rng.uniform(0.08, 0.12, (n, 8, 8))
    for picture, (down, right) in zip(made, rng.integers(1, 7, (n, 2)), strict=True):
        picture[down : down + 2, right : right + 2] += 0.8
    return made


def fails(picture: Image.Image) -> bool:
    """What somebody would say who looks at it: the four brightest pixels are no whole square, or something shines beside it."""
    sorted_ = np.sort(np.asarray(picture, dtype=float).ravel() / 255)
    return bool(sorted_[-4] < 0.75 or sorted_[-5] > 0.25)


def main() -> None:
    model = dd.train(squares(200), network="none")
    guard = dd.Guard(model, dd.Release(risk=0.1, confidence=0.9, tries=3), sampler=Sample("ddim", HURRIED))

    with tempfile.TemporaryDirectory() as place:
        trial = guard.trial(n=300, out=Path(place) / "trial")  # pictures, and a labels.csv that a person fills in
        pictures = {file.stem: Image.open(file).copy() for file in (Path(place) / "trial" / "samples").glob("*.png")}
    labels = {name: "bad" if fails(picture) else "good" for name, picture in pictures.items()}
    print(f"{sum(word == 'bad' for word in labels.values())} of {len(labels)} samples fail")

    guard.fit(trial, labels)
    print(guard.promise)

    served = list(guard.generate(n=200, seed=1))
    released = [one for one in served if one.item is not None]
    print(f"{len(released)} of 200 requests served, {sum(fails(one.item) for one in released)} of them fail")
    print(f"released at try: {dict(sorted(Counter(len(one.attempts) for one in released).items()))}")
    print(next((one.verdict.because for one in served if one.item is None), "nothing was withheld"))


if __name__ == "__main__":
    main()
