"""What the benchmarks share: where the data lie, what machine this is, and how figures are frozen."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

#: what decides how fast a matrix product is here, best first: the flag of the operating system and the name people know
KINDS = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"), ("avx512f", "AVX512"), ("avx2", "AVX2"))


def data(*names: str) -> list[Path]:
    """Paths below the folder of benchmark data, which DIFFIDENT_DATA names. Where one is absent, this benchmark says so and ends well."""
    place = Path(os.environ.get("DIFFIDENT_DATA", ROOT.parent / "shared" / "data"))
    paths = [place / name for name in names]
    if absent := [name for name, path in zip(names, paths, strict=True) if not path.exists()]:
        print(f"skipped: no {', '.join(absent)} in {place}; set DIFFIDENT_DATA to the folder that holds the benchmark data. Nothing was written")
        raise SystemExit(0)
    return paths


def kind() -> str:
    """The kind of processor: times of one kind say nothing of another, and are frozen apart."""
    return next((word for flag, word in KINDS if flag in _processor()[1]), "no AVX2")


def machine(*more: str) -> str:
    """Processor with its kind, cores and versions, to stand beside every time that is quoted; ``more`` is added."""
    return ", ".join([f"{_processor()[0]} ({kind()})", platform.machine(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *more])


def _processor() -> tuple[str, frozenset[str]]:
    """The name of the first processor and its flags, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or "unknown processor", frozenset()
    told = dict(reversed([line.replace("\t", "").partition(":")[::2] for line in lines if ":" in line]))
    return told.get("model name", "unknown processor").strip(), frozenset(told.get("flags", "").split())


def kept(name: str) -> dict[str, Any]:
    """The pieces of a long benchmark that earlier runs have finished, by their keys; empty where there are none."""
    found: dict[str, Any] = {}
    for path in sorted(_pieces(name).glob("*.json")):
        found |= json.loads(path.read_text())
    return found


def keep(name: str, key: str, piece: Any) -> None:
    """Keep a finished piece until the benchmark is frozen, so that an interrupted run goes on where it was.

    A key names every setting that the piece depends on: a piece is never made again while it is kept. Several processes may
    make pieces side by side: each lies in a file of its own.
    """
    _pieces(name).mkdir(parents=True, exist_ok=True)
    path = _pieces(name) / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    unfinished = path.with_suffix(f".{os.getpid()}.new")
    unfinished.write_text(json.dumps({key: piece}))
    os.replace(unfinished, path)


def source() -> str:
    """The first digits of a sum over the library's code: a piece that other code has made is made again."""
    made = hashlib.sha256()
    for file in sorted((ROOT / "src").rglob("*.py")):
        made.update(file.read_bytes())
    return made.hexdigest()[:12]


def _pieces(name: str) -> Path:
    return RESULTS / f"{name}.partial"


def freeze(name: str, frozen: Mapping[str, Any], text: str) -> None:
    """Write the figures for machines and for people, and show the latter; pieces of it that were kept are needed no longer."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(frozen, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(text)
    shutil.rmtree(_pieces(name), ignore_errors=True)
    print(text)


def so_far(name: str, text: str) -> None:
    """Write for people, and show, what is known of an unfinished benchmark; its pieces stay."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], figure: str = ".3g") -> list[str]:
    """A Markdown table; ``figure`` is the form of floats."""

    def cell(of: object) -> str:
        return format(of, figure) if isinstance(of, float) else str(of)

    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *("| " + " | ".join(cell(row[c]) for c in columns) + " |" for row in rows)]


def resampled(figure: Callable[[np.ndarray], float], count: int, repeats: int, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of a figure of units drawn with replacement; ``figure`` takes how often each is drawn, (count,)."""
    import numpy as np  # here: start_up measures small processes and may not be a large one itself

    rng = np.random.default_rng(seed)
    drawn = [figure(np.bincount(rng.integers(0, count, count), minlength=count)) for _ in range(repeats)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
