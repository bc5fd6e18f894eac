"""One item explained, and a page about a whole delivery. Run: python examples/explain_one.py"""

import tempfile
from pathlib import Path

import diffident as dd
from diffident.report import explain, report

PICTURES = Path(__file__).parent / "fashion"


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        dd.train(PICTURES / "good", network="none", out=Path(place) / "boots")
        detector = dd.Detector.load(Path(place) / "boots")

        found = explain(detector, PICTURES / "incoming" / "item_023.png")
        print(found)
        print("nearest known-good:", found.nearest)
        found.picture.save(Path(place) / "explain.png")  # the item, its map, the nearest known-good, what the model answered
        print("explain.png:", found.picture.width, "x", found.picture.height, "pixels")

        verdicts = report(detector, PICTURES / "incoming", Path(place) / "page.html")
        print("page.html:", len(verdicts), "items")


if __name__ == "__main__":
    main()
