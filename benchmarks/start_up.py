"""How long before anything happens: seconds and peak memory of the help, of an import, and the size of an installation.

    python -m benchmarks.start_up              the command line and the import, median of seven runs
    python -m benchmarks.start_up --install    also a core installation into an empty environment (minutes)

Every run is a fresh process, counted by the operating system (wait4: wall time, peak resident memory). The null is
``python -c pass``, and beside the import of Diffident stands that of torch: what a careless import would cost. Writes
benchmarks/results/start_up.json and start_up.md; figures of an installation are kept until they are measured again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._common import RESULTS, ROOT, freeze, machine

RUNS = 7
MEBI = 1024 * 1024
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kibibytes elsewhere


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long Diffident takes to start, and how large it is.")
    parser.add_argument("--install", action="store_true", help="also install the core into an empty environment")
    asked = parser.parse_args()
    found = importlib.util.find_spec("diffident.cli")
    if found is None or found.origin is None:  # a folder without an __init__ has no origin
        raise SystemExit("diffident.cli cannot be run yet: there is nothing to measure, and nothing was written")
    target = RESULTS / "start_up.json"
    kept = json.loads(target.read_text()).get("installation") if target.exists() else None
    frozen = {
        "command": "python -m benchmarks.start_up --install",
        "runs": RUNS,
        "machine": machine(),
        "floor_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / MEBI,  # a child's count begins with its parent's memory
        "starts": [{"what": what, **measure(command)} for what, command in commands().items()],
        "installation": installation() if asked.install else kept,
    }
    freeze("start_up", frozen, as_table(frozen))


def commands() -> dict[str, list[str]]:
    """What is started, by the words for it: nulls first, then the help of everything, then the import."""
    script = [sys.executable, "-c", "from diffident.cli import main; main()"]  # what the installed command does
    helps = {f"diffident {verb} --help": [*script, verb, "--help"] for verb in verbs(script)}
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import torch": [sys.executable, "-c", "import torch"],
        "import diffident": [sys.executable, "-c", "import diffident"],
        "diffident --help": [*script, "--help"],
        **helps,
    }


def verbs(script: list[str]) -> list[str]:
    """The verbs that the help lists under its heading "Commands", in its order."""
    told = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^ {2}([a-z][a-z-]*)(?: {2,}|$)", told.partition("Commands:")[2], flags=re.MULTILINE)


def measure(command: list[str]) -> dict[str, float]:
    """Median wall seconds and median peak mebibytes of a process, after one run that warms the file cache."""
    run_once(command)
    runs = [run_once(command) for _ in range(RUNS)]
    seconds, peaks = zip(*runs, strict=True)
    return {"seconds": statistics.median(seconds), "slowest": max(seconds), "peak_mib": statistics.median(peaks)}


def run_once(command: list[str]) -> tuple[float, float]:
    start = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with status {code}; a command that fails has no start-up time")
    return seconds, usage.ru_maxrss * PEAK_UNIT / MEBI


def installation() -> dict[str, object]:
    """Packages and megabytes that ``pip install .`` puts into an empty environment, pip itself not counted."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        empty = size(Path(folder))
        start = time.perf_counter()
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", ROOT], check=True)
        seconds, full = time.perf_counter() - start, size(Path(folder))
        listed = json.loads(subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True).stdout)
        names = [f"{one['name']} {one['version']}" for one in listed if one["name"] != "pip"]
        torch = sum(size(path) for path in Path(folder).glob("lib/python*/site-packages/torch"))
    return {"seconds": seconds, "packages": names, "megabytes": (full - empty) / 1e6, "torch_megabytes": torch / 1e6}


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def as_table(frozen: dict) -> str:
    lines = [
        "# Start-up",
        "",
        f"`{frozen['command']}`: fresh processes, median of {frozen['runs']} after one that warms the file cache ({frozen['machine']}).",
        f"A peak below {frozen['floor_mib']:.0f} MiB, that of the measuring process, cannot be seen.",
        "",
        "| process | seconds | slowest | peak MiB |",
        "|---|---|---|---|",
        *(f"| `{row['what']}` | {row['seconds']:.3f} | {row['slowest']:.3f} | {row['peak_mib']:.0f} |" for row in frozen["starts"]),
        "",
    ]
    if found := frozen["installation"]:
        lines += [
            f"A core installation (`pip install .` into an empty environment): {len(found['packages'])} packages, {found['megabytes']:.0f} MB,",
            f"of which torch {found['torch_megabytes']:.0f} MB; {found['seconds']:.0f} s. {', '.join(found['packages'])}.",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
