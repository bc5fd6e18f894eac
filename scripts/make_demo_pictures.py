"""Makes the pictures of the demonstration: good ankle boots to learn from, and a mixed delivery to judge.

    python scripts/make_demo_pictures.py            write examples/fashion
    python scripts/make_demo_pictures.py --kinds    the table by which the kind was chosen

Ankle boots, because they show the job without doing it: pixel nearest neighbours tell them from the other nine kinds with
AUROC .948, so there is something to find, and none of brightness, contrast, sharpness or file size does (at most .68 with
the better sign), so it cannot be found by something silly. Trousers (.981) and sneakers (.978) separate further, but there
file size alone reaches .83 and .84. These figures come from items 400 to 999 of the kind and 100 to 139 of the others; none is shipped.

Reads ``ood/fashion.npz`` from the folder that DIFFIDENT_DATA names. Deterministic: the same data gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DIFFIDENT_DATA", ROOT.parent / "shared" / "data"))
TARGET = ROOT / "examples" / "fashion"
KIND, GOOD, MORE_GOOD, STRANGE = "Ankle boot", 300, 40, 40
SOURCE = """The pictures in this folder are a selection of Fashion-MNIST, test part, by Zalando (Han Xiao, Kashif Rasul, Roland Vollgraf:
Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms, 2017; MIT License, Copyright (c) 2017
Zalando SE, https://github.com/zalandoresearch/fashion-mnist), taken from the repository Sentdex/nnfs_book
(https://github.com/Sentdex/nnfs_book, commit 9cf2fc482985), whose licence follows.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pictures of the demonstration, or show how their kind was chosen.")
    parser.add_argument("--kinds", action="store_true", help="only print how well simple scores separate each kind from the others")
    if not (DATA / "ood" / "fashion.npz").exists():
        raise SystemExit(f"no ood/fashion.npz in {DATA}; name the folder of benchmark data in DIFFIDENT_DATA")
    with np.load(DATA / "ood" / "fashion.npz") as data:
        images, kinds = data["images"], data["classes"][data["labels"]]
    compare(images, kinds) if parser.parse_args().kinds else write(images, kinds)


def write(images: np.ndarray, kinds: np.ndarray) -> None:
    """The two folders, the list of what each incoming item is (outside its folder), and the licence."""
    own = np.flatnonzero(kinds == KIND)
    others = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds) if kind != KIND]
    strange = np.array([rows[i] for i in range(STRANGE) for rows in others][:STRANGE])  # the kinds take turns
    incoming = np.random.default_rng(0).permutation(np.concatenate([own[GOOD : GOOD + MORE_GOOD], strange]))
    shutil.rmtree(TARGET, ignore_errors=True)
    save(images[own[:GOOD]], "good", "boot")
    paths = save(images[incoming], "incoming", "item")
    with open(TARGET / "incoming.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "kind"), *zip(paths, kinds[incoming].tolist(), strict=True)])
    (TARGET / "LICENSE").write_text(SOURCE + (DATA / "licences" / "fashion-mit.txt").read_text())
    size = sum(path.stat().st_size for path in TARGET.rglob("*.png"))
    print(f"{GOOD} good and {len(paths)} incoming pictures in {TARGET.relative_to(ROOT)}, {size / 1000:.0f} kB together")


def save(images: np.ndarray, folder: str, name: str) -> list[str]:
    """Numbered PNG files; the number is the only thing a name tells. Returns paths relative to the folder, as in scores.csv."""
    (TARGET / folder).mkdir(parents=True)
    paths = [f"{name}_{i:03d}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(TARGET / folder / path, optimize=True)
    return paths


def compare(images: np.ndarray, kinds: np.ndarray) -> None:
    """AUROC of every null and baseline, one kind known and the other nine strange, on items that are not shipped."""
    from diffident.evaluate import BASELINES, NULLS, auroc

    print(f"{'known kind':12}", *(f"{name:>11}" for name in (*NULLS, *BASELINES)))
    for kind in np.unique(kinds):
        own = np.flatnonzero(kinds == kind)[400:]
        strange = [np.flatnonzero(kinds == other)[100:140] for other in np.unique(kinds) if other != kind]
        train, items = (images[rows][:, None] / 255 for rows in (own[:300], np.concatenate([own[300:], *strange])))
        labels = np.arange(len(items)) >= len(own) - 300
        scores = [score(items) for score in NULLS.values()] + [score(train, items) for score in BASELINES.values()]
        print(f"{kind:12}", *(f"{auroc(labels, score):11.3f}" for score in scores))


if __name__ == "__main__":
    main()
