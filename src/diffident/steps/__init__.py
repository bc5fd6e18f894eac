"""What is done to opened items before they enter the space, learned from known-good ones: brightness, and how a part lies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .. import registry
from ..errors import TooFewItems
from ..noise import order

#: A step helps if it takes away at least this share of what differs between known-good items.
CLEAR = 0.25
#: What may be chosen without a word. Brightness may not: where it is a sign of strangeness, nobody but the user knows that it is not.
OFFERED = ("registration",)
#: Cells along an axis of the coarse picture by which items are compared.
CELLS = 16
#: Deviation over cells that counts as contrast; far below what 8 bits show.
FAINT = 1e-3
#: Of items that decide; half of them learn, half are measured.
DECIDING = 128


class Step(ABC):
    """Prepares items, and brings maps of prepared items back into the geometry of the items as they came.

    Subclasses are frozen, without hidden state, and registered under the kind ``steps``. What happens to an item depends on
    that item and on what was learned, never on the others that come with it.
    """

    #: raised when the same settings prepare items otherwise, so that old calibrations are not compared with new scores
    version: ClassVar[int] = 1

    #: whether a place of a prepared item may be another place of the item as it came
    moves: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def learn(cls, items: Float[Tensor, "n c h w"]) -> Step:
        """The step as known-good items in [-1, 1] want it; the same items teach the same step.

        Raises:
            TooFewItems: they teach nothing.
        """

    @abstractmethod
    def __call__(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c height width"]:
        """The items, prepared; each by itself, to the last bit."""

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Channels, height and width of a prepared item, from those of an item."""
        return shape

    def map_back(self, maps: Float[Tensor, "n height width"], items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
        """Maps of prepared items in the geometry of the items as they came; a step that moves nothing leaves them.

        Args:
            maps: a number for each position of the prepared items; larger is stranger.
            items: the same items, not prepared.
        """
        return maps  # type: ignore[return-value]

    def gain(self, items: Float[Tensor, "n c h w"]) -> float:
        """The share of what differs between known-good items that the step takes away: 1 - spread after / spread before.

        0 where nothing changes, 1 where all items become alike, below 0 where they are driven apart. Give items from which the
        step did not learn.
        """
        before = spread(items)
        return 1 - spread(self(items)) / before if before > 0 else 0.0

    def helps(self, items: Float[Tensor, "n c h w"]) -> bool:
        """Whether the gain on these known-good items is clear: .25 or more."""
        return self.gain(items) >= CLEAR

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The step as plain data for JSON, its registered ``name`` among them, without its tensors."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that :meth:`made_of` needs to make the same step again."""
        return {}

    @classmethod
    @abstractmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Step:
        """The step whose :meth:`config` and :meth:`tensors` these are."""


def step_from(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Step:
    """The step that :meth:`Step.config` and :meth:`Step.tensors` described.

    Raises:
        UnknownName: no such step.

    >>> from .photometry import Photometry
    >>> step_from(Photometry((0.5,)).config(), {})
    Photometry(level=(0.5,), extent=())
    """
    return registry.find("steps", config["name"]).made_of(config, tensors)  # type: ignore[attr-defined]


def spread(items: Float[Tensor, "n c h w"]) -> float:
    """How much items differ: the share of their coarse contrast that is not in their mean; 0 = all alike, about 1 = nothing in common.

    Each item becomes 16 x 16 cells in each channel, less their mean in the channel and divided by its own deviation over cells:
    brightness, contrast and fine detail do not count, so that flattening items gains nothing. Then the variance over items is
    averaged over cells. It is unbiased: items that have nothing in common have about 1 whatever their number. Contrast below a
    thousandth counts as none.

    Args:
        items: (n, c, h, w), two or more.

    >>> import torch
    >>> ramp = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    >>> round(spread(torch.cat([ramp, 0.3 * ramp - 0.2])), 6)
    0.0
    >>> round(spread(torch.cat([ramp, ramp.transpose(2, 3)])), 2)
    1.0
    """
    height, width = items.shape[2:]
    cells = adaptive_avg_pool2d(items.double(), (min(CELLS, height), min(CELLS, width)))
    away = (cells - cells.mean((2, 3), keepdim=True)).flatten(1)
    contrast = away.square().mean(1, keepdim=True).sqrt()
    return float((away / contrast.clamp(min=FAINT)).var(0).mean())


def gains(items: Float[Tensor, "n c h w"], seed: int = 0, offered: Sequence[str] = OFFERED) -> dict[str, float]:
    """What each step gains on known-good items from which it did not learn; 0 for one that they cannot teach.

    At most 128 items, drawn by ``seed``, are halved: one half teaches the step, the other is measured, see :meth:`Step.gain`.

    Args:
        items: known-good, in [-1, 1].
        offered: names of registered steps.

    Raises:
        TooFewItems: fewer than two in a half.
    """
    if len(items) < 4:
        raise TooFewItems(f"whether a step helps is seen on 4 items or more: half of them teach it, half are measured; got {len(items)}")
    drawn = items[order(len(items), "steps", seed)[:DECIDING]]
    half = len(drawn) // 2
    return {name: _gain(name, drawn[:half], drawn[half:]) for name in offered}


def chosen(items: Float[Tensor, "n c h w"], seed: int = 0, offered: Sequence[str] = OFFERED) -> tuple[Step, ...]:
    """The steps that help, learned from all items; decided on known-good items alone.

    The rule: a step is taken if it lowers the :func:`spread` of items from which it did not learn by a quarter or more.

    Args:
        items: known-good, in [-1, 1].
        offered: names of registered steps; by default only ``registration``.

    Raises:
        TooFewItems: fewer than four.
    """
    return tuple(registry.find("steps", name).learn(items) for name, gain in gains(items, seed, offered).items() if gain >= CLEAR)  # type: ignore[attr-defined]


def _gain(name: str, taught: Tensor, measured: Tensor) -> float:
    try:
        return registry.find("steps", name).learn(taught).gain(measured)  # type: ignore[attr-defined]
    except TooFewItems:
        return 0.0
