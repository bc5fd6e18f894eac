"""Types are checked while the tests run: jaxtyping's shapes by beartype, free in production."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import install_import_hook

install_import_hook("diffident", "beartype.beartype")  # before the first test imports the package


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of real benchmark data; tests that need it skip where it is absent."""
    place = Path(os.environ.get("DIFFIDENT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not place.is_dir():
        pytest.skip(f"real data is not here ({place}); set DIFFIDENT_DATA to the folder that holds it")
    return place


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """Runs a verb of the command line, given its arguments; a refusal is raised, and anything else that goes wrong fails the test."""
    from click.testing import CliRunner

    from diffident.cli import commands
    from diffident.errors import DiffidentError

    def verb(*arguments: object) -> Any:
        done = CliRunner().invoke(commands, [str(one) for one in arguments], standalone_mode=False)
        if isinstance(done.exception, DiffidentError):
            raise done.exception
        assert done.exception is None, done.exception
        return done

    return verb
