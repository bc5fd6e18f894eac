"""Networks that were trained elsewhere and stay as they are: what their inner blocks say of a picture, for spaces of features.

MobileNetV2 (Sandler et al. 2018, 1801.04381) and SqueezeNet 1.0 (Iandola et al. 2016, 1602.07360), made of plain tensors, and
any network of timm. Pictures are asked in groups whose size depends on the size of a picture alone, the last group filled
up with zeros: what a network says of one is the same to the last bit, whatever and however many are asked with it.
For large pictures that is also fast (at 256 and 384 pixels one by one was 2.4 times as fast as 32 together): wide maps stay in the cache.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .. import hardware, noise
from ..errors import InvalidSetting, NotAModel, UnknownName, WrongShape
from . import DTYPES

#: Groups are of 1, 2, 4 ... 32 pictures, of so many pixels together at most; larger pictures are asked one by one.
TOGETHER, MOST = 4 * 160 * 160, 32
#: Pictures of fewer pixels along a side have no map left in the last blocks.
LEAST = 32
#: What can follow a convolution: its name and numbers in oneDNN, and the bounds that do the same.
AFTER: Mapping[str, tuple[str, list[float], tuple[float, float | None]]] = {
    "relu": ("relu", [], (0.0, None)),
    "relu6": ("hardtanh", [0.0, 6.0], (0.0, 6.0)),
}
#: Names before which a network is one of timm.
TIMM = "timm:"


class Frozen(ABC):
    """A network of which only inner maps are asked.

    Attributes:
        blocks: what can be asked, block number -> (channels, stride in pixels).
        precision: of its arithmetic, ``fp32`` or ``bf16``; what it gives is always float32.
    """

    blocks: Mapping[int, tuple[int, int]]
    precision: str

    def features(self, pixels: Float[Tensor, "n 3 h w"], blocks: Sequence[int]) -> list[Float[Tensor, "n c y x"]]:
        """What those blocks give, in the order asked; nothing behind the last of them is computed.

        Args:
            pixels: RGB in [-1, 1], of any size from 32 on; grey is repeated by the caller.
            blocks: numbers among ``self.blocks``.

        Raises:
            WrongShape: not (n, 3, h, w), no picture, or a side below 32.
            InvalidSetting: no block, or one that this network does not have.
        """
        if not blocks or not set(blocks) <= set(self.blocks):
            raise InvalidSetting(f"{type(self).__name__} has the blocks {_listed(self.blocks)}; asked were {list(blocks)}: name one or more of those")
        return _in_groups(pixels, lambda group: self._maps(group, blocks))

    @abstractmethod
    def _maps(self, group: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Features of a group, (g, 3, h, w) to a map each."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What it was made of, as it was stored."""

    @abstractmethod
    def at(self, precision: str) -> Frozen:
        """The same network with that arithmetic: ``auto``, ``fp32`` or ``bf16``.

        Raises:
            InvalidSetting: another word.
        """

    @abstractmethod
    def untrained(self, seed: int = 0) -> Frozen:
        """The control: the same network with random weights. What is reached with it, is not owed to what the network has learned."""


class Convolution:
    """A convolution, its bias, what follows it and a sum, in one pass of oneDNN where there is one.

    Args:
        weight, bias: (out, in / groups, height, width) and (out,).
        after: ``relu``, ``relu6`` or nothing.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, stride: int = 1, groups: int = 1, after: str = "") -> None:
        self.weight, self.bias = weight.to(dtype).contiguous(memory_format=torch.channels_last), bias.to(dtype)
        self.stride, self.groups, self.after, self.packed = stride, groups, after, {}

    def __call__(self, x: Tensor, padding: tuple[int, int] = (0, 0), onto: Tensor | None = None) -> Tensor:
        """(n, in, h, w) to (n, out, y, x), plus ``onto`` where nothing follows."""
        if _fusible(x):
            return self._fused(x, padding, onto)
        mapped = F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        mapped = mapped.clamp_(*AFTER[self.after][2]) if self.after else mapped
        return mapped if onto is None else mapped.add_(onto)

    def _fused(self, x: Tensor, padding: tuple[int, int], onto: Tensor | None) -> Tensor:
        geometry = list(padding), [self.stride] * 2, [1, 1], self.groups
        weight = self.packed.get(x.shape)
        if weight is None:
            weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *geometry, list(x.shape))
            self.packed = {x.shape: weight}  # the latest only; another thread may put its own in its place
        if onto is not None:
            return torch.ops.mkldnn._convolution_pointwise.binary(x, onto, weight, self.bias, *geometry, "add", 1.0, None, [], None)
        after, numbers, _ = AFTER.get(self.after, ("none", [], ()))
        return torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *geometry, after, numbers, "")


class Stacked(Frozen):
    """A network whose blocks follow one another, made of tensors by name.

    Args:
        tensors: exactly those that :meth:`shapes` names, of any floating type.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Raises:
        NotAModel: other tensors.
        InvalidSetting: another precision.
    """

    def __init__(self, tensors: Mapping[str, Tensor], precision: str = "fp32") -> None:
        if shapes_of(tensors) != self.shapes():
            raise NotAModel(foreign(tensors, type(self).__name__))
        self._tensors, self.precision = dict(tensors), hardware.precision(precision)
        self._build(DTYPES[self.precision])

    @classmethod
    @abstractmethod
    def shapes(cls) -> dict[str, tuple[int, ...]]:
        """The tensors it is made of."""

    @abstractmethod
    def _build(self, dtype: torch.dtype) -> None:
        """Make the layers."""

    @abstractmethod
    def _walk(self, x: Tensor) -> Iterator[Tensor]:
        """What each block gives, one after the other, of pixels (g, 3, h, w) in [-1, 1]."""

    def _maps(self, group: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        wanted, last = {}, max(blocks)
        for block, found in zip(self.blocks, self._walk(group), strict=False):
            if block in blocks:
                wanted[block] = found
            if block == last:
                break
        return [wanted[block] for block in blocks]

    def _ready(self, x: Tensor) -> Tensor:
        return x.to(DTYPES[self.precision]).contiguous(memory_format=torch.channels_last)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)

    def at(self, precision: str) -> Stacked:
        return type(self)(self._tensors, precision)

    def untrained(self, seed: int = 0) -> Stacked:
        """The control: weights drawn from a normal distribution of the deviation of each trained tensor, biases zero."""
        return type(self)({name: _drawn(name, tensor, seed) for name, tensor in self._tensors.items()}, self.precision)


class MobileNetV2(Stacked):
    """MobileNetV2 1.0 for pictures of ImageNet with batch norm folded in: ``w<i>`` and ``b<i>``, i the place of a layer in the graph.

    Its 17 blocks have strides 2 to 32; a map has ceil(side / stride) positions along a side. Padding is as in TensorFlow
    (nothing before, one after where a side is even and the stride 2).
    """

    #: expansion (none in the first block), depthwise, projection; stride of the block; channels that it gives
    LAYERS: ClassVar = (
        *((0, 1, 2, 1, 16), (3, 4, 5, 2, 24), (6, 7, 8, 1, 24), (10, 11, 12, 2, 32), (13, 14, 15, 1, 32), (17, 18, 19, 1, 32)),
        *((21, 22, 23, 2, 64), (24, 25, 26, 1, 64), (28, 29, 30, 1, 64), (32, 33, 34, 1, 64), (36, 37, 38, 1, 96), (39, 40, 41, 1, 96)),
        *((43, 44, 45, 1, 96), (47, 48, 49, 2, 160), (50, 51, 52, 1, 160), (54, 55, 56, 1, 160), (58, 59, 60, 1, 320)),
    )
    HEAD, CLASSES = 61, 63
    blocks = MappingProxyType({k: (c, 2 if k == 1 else 4 if k < 4 else 8 if k < 7 else 16 if k < 14 else 32) for k, (*_, c) in enumerate(LAYERS, 1)})

    def embedding(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1280"]:
        """The mean over the last map: what its classes are read from."""
        return _in_groups(pixels, lambda group: [self._embedded(group)[:, :, 0, 0]])[0]

    def logits(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1001"]:
        """Of the classes of ImageNet, after a class 0, background."""
        return _in_groups(pixels, lambda group: [self.classes(self._embedded(group))[:, :, 0, 0]])[0]

    @classmethod
    def shapes(cls) -> dict[str, tuple[int, ...]]:
        weights, fan_in = {0: (32, 3, 3, 3)}, 32
        for expansion, depthwise, projection, _, fan_out in cls.LAYERS:
            wide = 6 * fan_in if expansion else fan_in
            weights |= {expansion: (wide, fan_in, 1, 1)} if expansion else {}
            weights |= {depthwise: (wide, 1, 3, 3), projection: (fan_out, wide, 1, 1)}
            fan_in = fan_out
        weights |= {cls.HEAD: (1280, fan_in, 1, 1), cls.CLASSES: (1001, 1280, 1, 1)}
        return {f"w{i}": shape for i, shape in weights.items()} | {f"b{i}": shape[:1] for i, shape in weights.items()}

    def _build(self, dtype: torch.dtype) -> None:
        strides = {depthwise: stride for _, depthwise, _, stride, _ in self.LAYERS} | {0: 2}
        linear = {projection for _, _, projection, _, _ in self.LAYERS} | {self.CLASSES}
        self.layers = {}
        for i in (int(name[1:]) for name in self._tensors if name.startswith("w")):
            weight, bias = self._tensors[f"w{i}"], self._tensors[f"b{i}"]
            groups = len(weight) if weight.shape[1] == 1 else 1
            self.layers[i] = Convolution(weight, bias, dtype, strides.get(i, 1), groups, "" if i in linear else "relu6")
        self.classes = self.layers[self.CLASSES]

    def _walk(self, x: Tensor) -> Iterator[Tensor]:
        x = self._ready((127.5 * x - 0.5) / 128)  # it was taught (byte - 128) / 128
        x, padding = _evened(x)
        x = self.layers[0](x, padding)
        for expansion, depthwise, projection, stride, fan_out in self.LAYERS:
            wide = self._expanded(expansion, depthwise, x, stride)
            x = self.layers[projection](wide, onto=x if stride == 1 and fan_out == x.shape[1] else None)
            yield x

    def _expanded(self, expansion: int, depthwise: int, x: Tensor, stride: int) -> Tensor:
        if stride == 1:
            return self.layers[depthwise](self.layers[expansion](x) if expansion else x, (1, 1))
        x, padding = _evened(x)  # padding the narrow map and blanking the border of the wide one spares a copy of the wide one
        wide = self.layers[expansion](x)
        for axis, symmetric in zip((2, 3), padding, strict=True):
            if not symmetric:
                wide.select(axis, -1).zero_()
        return self.layers[depthwise](wide, padding)

    def _embedded(self, group: Tensor) -> Tensor:
        return self.layers[self.HEAD](self._maps(group, [17])[0]).mean((2, 3), keepdim=True)


class SqueezeNet(Stacked):
    """SqueezeNet 1.0 for pictures of ImageNet. Blocks 2 to 9 are its fire modules; a map is a position or two smaller than side / stride.

    Its weights are those of the paper's compressed network: two thirds are zero, the rest share 256 values a layer. Coarse.
    """

    #: fire module -> channels that it squeezes to, and half of those that it gives
    FIRES: ClassVar = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
    POOLED: ClassVar = (2, 5, 9)  # fire modules before which the map is halved
    MEANS: ClassVar = (104.0, 117.0, 123.0)  # blue, green, red
    blocks = MappingProxyType({k: (2 * half, 4 if k < 5 else 8 if k < 9 else 16) for k, (_, half) in FIRES.items()})

    def logits(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1000"]:
        """Of the classes of ImageNet, none below 0."""
        return _in_groups(pixels, lambda group: [self.layers["conv_final"](self._maps(group, [9])[0], (1, 1)).mean((2, 3))])[0]

    @classmethod
    def shapes(cls) -> dict[str, tuple[int, ...]]:
        weights, fan_in = {"conv1": (96, 3, 7, 7)}, 96
        for k, (narrow, half) in cls.FIRES.items():
            weights[f"fire{k}/conv1x1_1"] = (narrow, fan_in, 1, 1)
            weights |= {f"fire{k}/conv1x1_2": (half, narrow, 1, 1), f"fire{k}/conv3x3_2": (half, narrow, 3, 3)}
            fan_in = 2 * half
        weights["conv_final"] = (1000, fan_in, 1, 1)
        return {f"{name}.weight": shape for name, shape in weights.items()} | {f"{name}.bias": shape[:1] for name, shape in weights.items()}

    def _build(self, dtype: torch.dtype) -> None:
        names = [name.removesuffix(".weight") for name in self._tensors if name.endswith(".weight")]
        made = {name: (self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]) for name in names}
        self.layers = {name: Convolution(*pair, dtype, 2 if name == "conv1" else 1, after="relu") for name, pair in made.items()}

    def _walk(self, x: Tensor) -> Iterator[Tensor]:
        means = torch.tensor(self.MEANS, device=x.device).reshape(3, 1, 1)
        x = self.layers["conv1"](self._ready(127.5 * (x.flip(1) + 1) - means))
        for k in self.FIRES:
            x = F.max_pool2d(x, 3, 2, ceil_mode=True) if k in self.POOLED else x
            narrow = self.layers[f"fire{k}/conv1x1_1"](x)
            x = torch.cat([self.layers[f"fire{k}/conv1x1_2"](narrow), self.layers[f"fire{k}/conv3x3_2"](narrow, (1, 1))], 1)
            yield x


#: What frozen networks can be made of tensors alone, by name.
FROZEN: Mapping[str, type[Stacked]] = {"mobilenet_v2": MobileNetV2, "squeezenet": SqueezeNet}


def frozen(kind: str, tensors: Mapping[str, Tensor], precision: str = "fp32") -> Frozen:
    """The network of that kind, a name of FROZEN or ``timm:NAME``, made of those tensors.

    Raises:
        UnknownName: there is no such kind.
        NotAModel: the tensors are of another network.
        InvalidSetting: another precision, or timm is not installed.
    """
    if kind.startswith(TIMM):
        from .of_timm import Timm  # it builds on this file

        return Timm(kind.removeprefix(TIMM), tensors, precision)
    if kind not in FROZEN:
        raise UnknownName(f"no frozen network called {kind!r}; there are: {', '.join(FROZEN)}, and {TIMM}NAME for those of timm")
    return FROZEN[kind](tensors, precision)


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """The name in FROZEN of the network that these tensors make.

    Raises:
        NotAModel: none of them is made of just these.
    """
    found = shapes_of(tensors)
    for kind, made in FROZEN.items():
        if found == made.shapes():
            return kind
    raise NotAModel(foreign(tensors, " or ".join(FROZEN)))


@torch.no_grad()
def _in_groups(pixels: Tensor, ask: Callable[[Tensor], list[Tensor]]) -> list[Tensor]:
    """What ``ask`` gives of all pictures, asked in groups of one size."""
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not len(pixels) or min(pixels.shape[2:]) < LEAST:
        raise WrongShape(f"frozen networks look at pictures (n, 3, h, w) with n from 1 and sides from {LEAST}; got {tuple(pixels.shape)}; enlarge or repeat")
    size = _group(*pixels.shape[2:])
    filled = F.pad(pixels.float(), (0, 0, 0, 0, 0, 0, 0, -len(pixels) % size))
    parts = [ask(group) for group in filled.split(size)]
    return [torch.cat([part.float() for part in maps])[: len(pixels)] for maps in zip(*parts, strict=True)]


def _fusible(x: Tensor) -> bool:
    """Whether oneDNN may do it in one pass; it refuses bfloat16 where the processor has no instructions for it."""
    able = x.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return able and (x.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _group(height: int, width: int) -> int:
    """How many pictures of that size are asked together: a power of two.

    >>> _group(64, 64), _group(160, 160), _group(384, 384)
    (16, 4, 1)
    """
    return 1 << min(max(TOGETHER // (height * width), 1), MOST).bit_length() - 1


def _evened(x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Sides that a stride of 2 takes as TensorFlow does: one more at the end of an even side; and the padding left to do on both ends."""
    odd = x.shape[2] % 2, x.shape[3] % 2
    return F.pad(x, (0, 1 - odd[1], 0, 1 - odd[0])), odd


def _drawn(name: str, like: Tensor, seed: int) -> Tensor:
    if like.ndim == 1:
        return torch.zeros_like(like)
    return (noise.normal(tuple(like.shape), f"untrained {name}", seed) * like.float().std()).to(like)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each, by name: what a network is recognised by."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _listed(blocks: Mapping[int, tuple[int, int]]) -> str:
    return f"{min(blocks)} to {max(blocks)}"


def foreign(tensors: Mapping[str, Tensor], wanted: str) -> str:
    """What is said of tensors that are not those wanted."""
    some = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:3]) or "none"
    return (
        f"these are not the weights of {wanted}: {len(tensors)} tensors ({some}{', ...' if len(tensors) > 3 else ''}); take others, or ask for another network"
    )
