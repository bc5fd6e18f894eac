"""The first decision: learn a folder of good pictures, judge a mixed delivery, read the verdicts. Run: python examples/first_decision.py"""

import tempfile
from collections import Counter
from pathlib import Path

import diffident as dd

PICTURES = Path(__file__).parent / "fashion"


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "boots"
        dd.train(PICTURES / "good", network="none", out=folder)  # one part is learned from, the other calibrates
        detector = dd.Detector.load(folder)

    verdicts = detector.judge_all(PICTURES / "incoming")
    print(verdicts.promise)
    print()
    for decision, count in Counter(verdict.decision for verdict in verdicts).most_common():
        print(f"{decision:>8}: {count}")
    print()
    for verdict in verdicts.strangest(3):
        print(verdict.name, verdict)
        print(f"    {verdict.because}")
    for verdict in verdicts:
        if verdict.decision == "abstain":
            print(verdict.name, verdict)


if __name__ == "__main__":
    main()
