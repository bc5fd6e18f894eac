"""Parts of diffusers' pipelines: loaded from a folder, told apart, looked into; the only place that knows diffusers, which is installed by whoever wants it."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InvalidSetting, MissingPackage, NotAModel
from .layers import Keep

#: What diffusers writes of a pipeline: the class of each of its parts.
INDEX = "model_index.json"

#: The arithmetic of a pipeline, by name.
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)}


def library() -> Any:
    """diffusers itself.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingPackage(f"models of diffusers need diffusers: pip install 'diffident[diffusers]' ({error})") from error


def parts_in(folder: str | Path) -> Mapping[str, str]:
    """The name of each part of a pipeline's folder with that of its class in diffusers; parts of other libraries, such as text encoders, are left out.

    Raises:
        NotAModel: it is no folder that ``save_pretrained`` of a pipeline has written.
    """
    index = Path(folder) / INDEX
    try:
        said = json.loads(index.read_text("utf-8"))
        return {name: of[1] for name, of in said.items() if isinstance(of, list) and of[0] == "diffusers"}
    except (OSError, ValueError, AttributeError, IndexError) as error:
        why = f"it holds no {INDEX} that can be read ({type(error).__name__})" if Path(folder).is_dir() else "there is no such folder"
        raise NotAModel(f"{folder} is no pipeline of diffusers: {why}; write one with pipe.save_pretrained({str(folder)!r})") from error


def loaded(folder: str | Path, part: str, dtype: torch.dtype | None = None) -> Any:
    """One part of a pipeline's folder, ready to be asked; nothing is fetched from anywhere, and no pickle is read.

    Args:
        dtype: of its weights; None leaves them in single precision.

    Raises:
        MissingPackage: diffusers is not installed.
        NotAModel: the folder lacks that part, or it cannot be read.
    """
    names = parts_in(folder)
    if part not in names:
        raise NotAModel(f"the pipeline at {folder} has no part {part!r}; it has {', '.join(names) or 'none of diffusers'}")
    kind = getattr(library(), names[part], None)
    more: dict[str, Any] = {}
    if kind is None:
        raise NotAModel(f"the {part} of {folder} is a {names[part]}, which this version of diffusers does not have; upgrade diffusers")
    read = kind.from_pretrained
    if issubclass(kind, nn.Module):
        more = {"use_safetensors": True, "low_cpu_mem_usage": False, "torch_dtype": dtype or torch.float32}
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read
            found = read(str(folder), subfolder=part, local_files_only=True, **more)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise NotAModel(
            f"the {part} of {folder} cannot be read ({type(error).__name__}: {str(error)[:300]}); write it again: pipe.save_pretrained(FOLDER)"
        ) from error
    return found.eval().requires_grad_(False) if isinstance(found, nn.Module) else found


def digest(network: nn.Module) -> str:
    """sha256 of what a network is: its class, its settings, and the name, type, shape and every bit of its tensors.

    Settings that say nothing (None, False, 0) are left out: later versions of diffusers add some, and the network stays what it was.
    """
    said = {name: value for name, value in settings(network).items() if value}
    made = hashlib.sha256(json.dumps([type(network).__name__, said], sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()):
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def settings(network: nn.Module) -> dict[str, Any]:
    """The settings that a part of a pipeline was made with; none where it keeps none."""
    said = getattr(network, "config", None)
    return {name: value for name, value in said.items() if not name.startswith("_")} if isinstance(said, Mapping) else {}


def untrained(network: nn.Module, seed: int) -> nn.Module:
    """The control: a network of the same class and settings with weights as diffusers draws them before training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = type(network).from_config(network.config)  # type: ignore[operator]
    return made.to(*placed(network)).eval().requires_grad_(False)


def redrawn(network: nn.Module, seed: int) -> nn.Module:
    """The control of a network of any class: each tensor drawn anew, normal, of its own mean and deviation."""
    made = copy.deepcopy(network).requires_grad_(False)  # its owner's stays as it is
    drawn = torch.Generator().manual_seed(seed)
    for tensor in made.parameters():
        whole = tensor.detach().double().cpu()
        new = whole.mean() + whole.std(correction=0) * torch.randn(whole.shape, generator=drawn, dtype=torch.float64)
        tensor.data = new.to(tensor)
    return made.eval()


def placed(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where a network lies and in which arithmetic it is asked; the processor and single precision if it has no numbers."""
    first = next((one for one in network.parameters() if one.is_floating_point()), None)
    return (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)


def require_asking(network: nn.Module) -> None:
    """Refuse a network that is being trained: its answers would be drawn by lot, and its mode is its owner's to change.

    Raises:
        InvalidSetting: it, or a part of it, is in training mode.
    """
    if any(part.training for part in network.modules()):
        raise InvalidSetting(f"the {type(network).__name__} is in training mode, in which answers may be drawn by lot; call its eval() first")


#: A stream: the part of the network that is hooked, and whether what it is given or what it answers is the stream.
Place = tuple[nn.Module, bool]


def streams(network: nn.Module) -> dict[str, Place]:
    """Where a network can be looked into, by names like those of our own.

    U-Nets: ``down0``, ``down1``, ... before each halving, the finest grid first; ``deepest``; ..., ``up1``, and ``finest``, the last
    on the finest grid. Transformers: ``block0``, ``block1``, ...; ``deepest`` is the one in the middle and ``finest`` the last.
    """
    parts = dict(network.named_children())
    if "down_blocks" in parts and "up_blocks" in parts:
        down, up = list(parts["down_blocks"].children()), list(parts["up_blocks"].children())
        found = {f"down{i}": _halved(block) for i, block in enumerate(down[:-1])}
        found["deepest"] = (parts.get("mid_block", down[-1]), False)
        found |= {f"up{i}": _halved(block) for i, block in zip(range(len(up) - 2, 0, -1), up[1:-1], strict=True)}
        return found | {"finest": _halved(up[-1])}
    blocks = list(parts["transformer_blocks"].children()) if "transformer_blocks" in parts else []
    named = {f"block{i}": (block, False) for i, block in enumerate(blocks)}
    return named | ({"deepest": named[f"block{len(blocks) // 2}"], "finest": named[f"block{len(blocks) - 1}"]} if blocks else {})


def _halved(block: nn.Module) -> Place:
    """What a block has made before it changes to another grid; what it answers, if it stays on its own."""
    parts = dict(block.named_children())
    change = next((parts[name] for name in ("downsamplers", "upsamplers") if name in parts), None)
    return (block, False) if change is None else (next(iter(change.children())), True)


@contextmanager
def watching(places: Mapping[str, Place], keep: Keep, grid: tuple[int, int]) -> Iterator[None]:
    """While it lasts, ``keep`` is told the streams as the network makes them, (n, channels, *grid); only those of questions from this thread.

    Args:
        grid: height and width on which the tokens of a transformer lie.
    """
    mine = threading.get_ident()

    def told(name: str) -> Callable[[Any], None]:
        def tell(seen: Any) -> None:
            if threading.get_ident() == mine:
                keep(name, _gridded(seen, grid))

        return tell

    def hooked(part: nn.Module, given: bool, tell: Callable[[Any], None]) -> Any:
        if given:
            return part.register_forward_pre_hook(lambda _, seen: tell(seen))
        return part.register_forward_hook(lambda _, seen, answer: tell(answer))

    with ExitStack() as stack:
        for name, (part, given) in places.items():
            stack.callback(hooked(part, given, told(name)).remove)
        yield


def _gridded(seen: Any, grid: tuple[int, int]) -> Tensor:
    """What a block was given or answers as (n, channels, *grid): a picture as it is, tokens where they lie."""
    candidates = [seen] if isinstance(seen, Tensor) else [one for one in seen if isinstance(one, Tensor)]
    for one in candidates:
        if one.ndim == 4:
            return one
        if one.ndim == 3 and one.shape[1] == grid[0] * grid[1]:
            return one.transpose(1, 2).reshape(len(one), one.shape[2], *grid)
    shapes = ", ".join(str(tuple(one.shape)) for one in candidates)
    raise InvalidSetting(f"a block holds {shapes}, none of which lies on a grid of {grid[0]} x {grid[1]}; look into another stream")
