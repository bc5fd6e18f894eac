"""Rows to a .csv, .json or .jsonl file one by one: what has been written stays, whatever happens next."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .errors import InvalidSetting, OutputError

Cell = str | float | int | None


class RowWriter:
    """Writes each row to disk as it comes. After an interruption or on a full disk the rows so far remain, none of them half.

    A ``.json`` file is a complete list after every row. NaN is an empty cell or null, infinity null in JSON. Names that
    are not text (bytes of another encoding) are kept as they are in CSV and escaped in JSON.

    Raises:
        InvalidSetting: the path ends neither in .csv nor in .json nor in .jsonl.
        OutputError: it cannot be written, now or later: no such folder, not allowed, a folder in the way, disk full.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scores.csv"
    >>> with RowWriter(path, ("path", "score")) as rows:
    ...     rows.write({"path": "a.png", "score": float("nan")})
    >>> path.read_text().split()
    ['path,score', 'a.png,']
    """

    def __init__(self, path: str | Path, columns: Sequence[str]) -> None:
        self.path, self.columns = Path(path), tuple(columns)
        self.form = self.path.suffix.lower()
        if self.form not in (".csv", ".json", ".jsonl"):
            raise InvalidSetting(f"cannot tell the form of {self.path}: results are written as .csv, .json or .jsonl")
        self._tail = b"\n]\n" if self.form == ".json" else b""
        self._rows = 0
        try:
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115 - unbuffered: a row written is a row kept
        except OSError as error:
            raise self._refusal(error) from error
        self._end = 0
        self._append({".csv": self._line(self.columns), ".json": b"["}.get(self.form, b""))

    def write(self, row: Mapping[str, Cell]) -> None:
        """Write one row; columns it lacks are empty."""
        cells = [_plain(row.get(column)) for column in self.columns]
        if self.form == ".csv":
            text = self._line(cells)
        else:
            named = json.dumps({c: _finite(x) for c, x in zip(self.columns, cells, strict=True)}, ensure_ascii=False, allow_nan=False)
            line = named.encode("utf-8", "backslashreplace")  # a lone surrogate becomes \\udcXX: an escape that JSON knows
            text = line + b"\n" if self.form == ".jsonl" else (b",\n" if self._rows else b"\n") + line
        self._append(text)
        self._rows += 1

    def close(self) -> None:
        """Finish the file; nothing is left to write, so nothing can be lost here."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, text: bytes) -> None:
        """Write over the closing bracket of JSON and set it again; on failure go back to the last whole row."""
        try:
            if self._tail:
                self._file.seek(self._end)
            _write_all(self._file, text + self._tail)
        except OSError as error:
            self._go_back()
            self.close()
            raise self._refusal(error) from error
        self._end += len(text)

    def _go_back(self) -> None:
        with suppress(OSError):
            self._file.truncate(self._end)
            self._file.seek(self._end)
            _write_all(self._file, self._tail)

    def _line(self, cells: Sequence[Cell]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue().encode("utf-8", "surrogateescape")

    def _refusal(self, error: OSError) -> OutputError:
        kept = f"; the {self._rows} rows so far are kept" if self._rows else ""
        return OutputError(f"cannot write {self.path}: {error.strerror or error}{kept}; choose another place or make room")


def _write_all(file: io.FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # an unbuffered write may take only a part
        rest = rest[file.write(rest) :]


def _plain(cell: Cell) -> Cell:
    if isinstance(cell, float):
        return None if math.isnan(cell) else float(cell)
    return cell


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
