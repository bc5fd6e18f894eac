"""A whole delivery at once: of the items flagged, a bounded share is good. Run: python examples/batch_with_fdr.py

A level on each item bounds how many *good items* are flagged. A bound on false discoveries is about the *flagged items*: how
many of them somebody opens in vain. The second is what a workshop asks for that inspects by hand whatever was flagged.
"""

import csv
import tempfile
from pathlib import Path

import diffident as dd

PICTURES = Path(__file__).parent / "fashion"


def truth() -> dict[str, bool]:
    """What each picture of the delivery really shows: True for a boot."""
    with (PICTURES / "incoming.csv").open(newline="") as file:
        return {row["path"]: row["kind"] == "Ankle boot" for row in csv.DictReader(file)}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        dd.train(PICTURES / "good", network="none", out=Path(place) / "boots")
        detector = dd.Detector.load(Path(place) / "boots")
    scores = detector.scorer(PICTURES / "incoming")  # once; every bound below is read off the same numbers
    good = truth()
    for bound in (0.05, 0.1, 0.2):
        verdicts = detector.judge_all(scores, fdr=bound)
        flagged = [verdict.name for verdict in verdicts if verdict.decision == "flag"]
        print(f"fdr {bound:g}: {len(flagged)} flagged, {sum(good[name] for name in flagged)} of them good")
    print(verdicts.promise)
    try:
        detector.judge_all(scores, fdr=0.005)
    except dd.DiffidentError as refusal:
        print(f"fdr 0.005: {refusal}")


if __name__ == "__main__":
    main()
