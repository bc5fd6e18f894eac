"""Frozen networks: they answer as their makers' do, a picture alone as in company, at any size, and refuse in words."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffident import hardware, weights
from diffident.errors import DamagedModel, InvalidSetting, NotAModel, UnknownName, WrongShape
from diffident.networks.frozen import FROZEN, Frozen, MobileNetV2, SqueezeNet, Stacked, frozen, kind_of
from diffident.networks.of_timm import Timm
from diffident.noise import normal, uniform

BOTH = pytest.mark.parametrize("kind", FROZEN)
FAST = hardware.precision("auto")


def pictures(count: int, height: int, width: int | None = None, seed: int = 0) -> Tensor:
    return 2 * uniform((count, 3, height, width or height), "pictures", seed) - 1


def made(kind: str, precision: str = "fp32") -> Stacked:
    """The bundled network, and for the other one random numbers that keep a signal alive."""
    if kind == "mobilenet_v2":
        return MobileNetV2(weights.bundled(kind), precision)
    drawn = {name: normal(shape, name) for name, shape in SqueezeNet.shapes().items()}
    return SqueezeNet({name: t * (2 / t[0].numel()) ** 0.5 if t.ndim > 1 else 0.1 * t for name, t in drawn.items()}, precision)


def reference(place: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Exact weights, right answers and the pictures they belong to."""
    with np.load(place / "networks" / "check.npz") as check:
        right = {name: torch.from_numpy(check[name]) for name in check.files if name.startswith(kind.partition("_")[0])}
        pixels = torch.from_numpy(check["image"]).permute(0, 3, 1, 2) / 127.5 - 1
    return weights.read(place / "networks" / f"{kind}.npz"), right, pixels


def answers(network: Stacked, pixels: Tensor) -> dict[str, Tensor]:
    if isinstance(network, SqueezeNet):
        return {"squeezenet_logits": network.logits(pixels), "squeezenet_fire9_mean": network.features(pixels, [9])[0].mean((2, 3))}
    last, early = (found.mean((2, 3)) for found in network.features(pixels, [17, 5]))
    both = {"mobilenet_logits": network.logits(pixels), "mobilenet_embedding": network.embedding(pixels)}
    return both | {"mobilenet_block17_mean": last, "mobilenet_block5_mean": early}


def off(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


@BOTH
def test_with_exact_weights_it_answers_as_the_reference(kind: str, benchmark_data: Path) -> None:
    tensors, right, pixels = reference(benchmark_data, kind)
    assert kind_of(tensors) == kind
    for name, found in answers(frozen(kind, tensors), pixels).items():
        torch.testing.assert_close(found, right[name], atol=2e-3, rtol=0)


@pytest.mark.parametrize(("precision", "share"), [("fp32", 0.006), ("bf16", 0.07)])
def test_the_bundled_weights_answer_as_the_reference_but_for_their_rounding(precision: str, share: float, benchmark_data: Path) -> None:
    exact, right, pixels = reference(benchmark_data, "mobilenet_v2")
    for name, found in answers(made("mobilenet_v2", precision), pixels).items():
        assert off(found, right[name]) < share, name
    stored = weights.bundled("mobilenet_v2")
    assert all(torch.equal(stored[name], tensor.half() if name.startswith("w") else tensor) for name, tensor in exact.items())


def test_without_onednn_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in FROZEN:
        network, x = made(kind), pictures(2, 64)
        last = max(network.blocks)
        fused = network.features(x, [last])[0]
        with monkeypatch.context() as patched:
            patched.setattr("torch.backends.mkldnn.is_available", lambda: False)
            assert off(network.features(x, [last])[0], fused) < 1e-5


@pytest.mark.parametrize("size", [(64, 64), (65, 96), (77, 101), (33, 32)])
def test_maps_of_mobilenet_have_the_channels_and_strides_it_says(size: tuple[int, int]) -> None:
    network = made("mobilenet_v2")
    maps = network.features(pictures(1, *size), list(network.blocks))
    for found, (channels, stride) in zip(maps, network.blocks.values(), strict=True):
        assert found.shape == (1, channels, *(-(-side // stride) for side in size)) and found.dtype == torch.float32


@pytest.mark.parametrize("size", [(64, 64), (65, 96), (227, 224), (33, 32)])
def test_maps_of_squeezenet_have_the_channels_it_says_and_nearly_the_strides(size: tuple[int, int]) -> None:
    network = made("squeezenet")
    maps = network.features(pictures(1, *size), list(network.blocks))
    for found, (channels, stride) in zip(maps, network.blocks.values(), strict=True):
        assert found.shape[1] == channels
        assert all(0 < got <= -(-side // stride) and got >= side // stride - 2 for got, side in zip(found.shape[2:], size, strict=True))


def test_an_even_side_is_padded_after_its_end_only() -> None:
    """As in TensorFlow: shifting the picture by the whole stride shifts the inner part of the map, at even and at odd sides alike."""
    network = made("mobilenet_v2")
    wide = pictures(1, 128)
    for cut in (0, 1):  # even, odd
        whole, moved = (network.features(part, [2])[0] for part in (wide[..., : 124 - cut], wide[..., 4 : 128 - cut]))
        torch.testing.assert_close(whole[..., 5:25], moved[..., 4:24], atol=1e-4, rtol=1e-4)


def test_maps_come_in_the_order_asked() -> None:
    network, x = made("mobilenet_v2"), pictures(2, 64)
    one, other = network.features(x, [13, 4])
    assert torch.equal(one, network.features(x, [13])[0]) and torch.equal(other, network.features(x, [4])[0])


@pytest.mark.parametrize("precision", sorted({"fp32", FAST}))
@pytest.mark.parametrize("size", [(160, 160), (64, 64), (45, 70)])
@BOTH
def test_a_picture_alone_in_company_and_anywhere_has_the_same_features_to_the_bit(kind: str, size: tuple[int, int], precision: str) -> None:
    network, x = made(kind, precision), pictures(32, *size)
    block = [13 if kind == "mobilenet_v2" else 9]
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    together = network.features(x, block)[0]
    assert torch.equal(network.features(x[order], block)[0], together[order])
    assert torch.equal(network.features(x[:7], block)[0], together[:7])
    assert torch.equal(network.features(x[19:20], block)[0], together[19:20])
    assert together.std() > 1e-3


def test_embedding_and_logits_know_no_company_either() -> None:
    network, x = made("mobilenet_v2"), pictures(9, 64)
    for ask in (network.embedding, network.logits):
        assert torch.equal(ask(x[5:6]), ask(x)[5:6])


@BOTH
def test_the_control_differs_by_seed_and_is_alike_in_all_else(kind: str) -> None:
    network, x = made(kind), pictures(2, 96)
    block = [13 if kind == "mobilenet_v2" else 9]
    one, again, other = (network.untrained(seed) for seed in (0, 0, 1))
    assert {name: (t.shape, t.dtype) for name, t in one.tensors().items()} == {name: (t.shape, t.dtype) for name, t in network.tensors().items()}
    seen = [each.features(x, block)[0] for each in (one, again, other, network)]
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[3])
    assert all(found.isfinite().all() and found.std() > 1e-4 for found in seen)
    for name, tensor in one.tensors().items():
        assert not tensor.any() if tensor.ndim == 1 else abs(tensor.float().std() / network.tensors()[name].float().std() - 1) < 0.2


@BOTH
def test_it_gives_back_what_it_was_made_of_and_can_change_its_arithmetic(kind: str) -> None:
    network = made(kind)
    quick = network.at("bf16")
    assert (network.precision, quick.precision, network.at("auto").precision) == ("fp32", "bf16", FAST)
    again = frozen(kind, quick.tensors())
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in network.tensors().items())
    x, last = pictures(1, 64), [max(network.blocks)]
    assert torch.equal(again.features(x, last)[0], network.features(x, last)[0])
    assert 0 < off(quick.features(x, last)[0], network.features(x, last)[0]) < 0.2


def test_the_bundled_file_is_small_and_has_a_card_and_a_notice() -> None:
    place = weights.HERE / "mobilenet_v2"
    assert (place / "weights.safetensors").stat().st_size <= 8e6
    assert len(weights.sha256("mobilenet_v2")) == 64
    assert "zero-shot" in (place / "README.md").read_text() and "104342d2d348" in (place / "README.md").read_text()
    assert "Apache License" in (place / "NOTICE").read_text() and "Changed" in (place / "NOTICE").read_text()
    assert kind_of(weights.bundled("mobilenet_v2")) == "mobilenet_v2"


def test_local_files_of_both_forms_are_read(tmp_path: Path) -> None:
    tensors = made("squeezenet").tensors()
    np.savez_compressed(tmp_path / "own.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
    save_file(tensors, tmp_path / "own.safetensors")
    for ending in weights.ENDINGS:
        found = weights.read(tmp_path / f"own{ending}")
        assert kind_of(found) == "squeezenet" and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_files_that_cannot_be_used_are_refused_in_words(tmp_path: Path) -> None:
    good = {name: tensor.half() for name, tensor in made("squeezenet").tensors().items()}
    for ending, save in ((".npz", lambda t, p: np.savez(p, **{k: v.numpy() for k, v in t.items()})), (".safetensors", save_file)):
        save(good, tmp_path / f"good{ending}")
        whole = (tmp_path / f"good{ending}").read_bytes()
        for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"weights")):
            (tmp_path / f"{name}{ending}").write_bytes(content)
            with pytest.raises(DamagedModel, match="cannot be read.*fetch it again"):
                weights.read(tmp_path / f"{name}{ending}")
        save({**good, "conv1.bias": good["conv1.bias"] / 0}, tmp_path / f"odd{ending}")
        with pytest.raises(DamagedModel, match="no finite real numbers, in conv1.bias"):
            weights.read(tmp_path / f"odd{ending}")
        save({"a": torch.zeros(2)}, tmp_path / f"other{ending}")
        with pytest.raises(NotAModel, match=r"other.*mobilenet_v2 or squeezenet: 1 tensors \(a \(2,\)\)"):
            weights.read(tmp_path / f"other{ending}")
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DamagedModel, match="cannot be read"):
        weights.read(tmp_path / "single.npz")
    with pytest.raises(NotAModel, match="nothing is there"):
        weights.read(tmp_path / "absent.npz")
    with pytest.raises(NotAModel, match=r"end in .npz or .safetensors"):
        weights.read(tmp_path / "weights.pth")


def test_what_cannot_be_asked_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = made("mobilenet_v2")
    for blocks in ([], [0], [3, 18]):
        with pytest.raises(InvalidSetting, match="has the blocks 1 to 17"):
            network.features(pictures(1, 64), blocks)
    for x in (pictures(1, 31, 64), torch.zeros(0, 3, 64, 64)):
        with pytest.raises(WrongShape, match="sides from 32"):
            network.features(x, [1])
    with pytest.raises(InvalidSetting, match="precision is one of"):
        network.at("fp8")
    with pytest.raises(NotAModel, match="not the weights of SqueezeNet: 106 tensors"):
        frozen("squeezenet", network.tensors())
    with pytest.raises(UnknownName, match="no frozen network called 'vgg'"):
        frozen("vgg", {})
    for ask in (weights.bundled, weights.sha256):
        with pytest.raises(UnknownName, match="there are: mobilenet_v2"):
            ask("squeezenet")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "README.md").touch()
    monkeypatch.setattr(weights, "HERE", tmp_path)
    monkeypatch.setattr(weights, "BUNDLED", ("lost",))
    with pytest.raises(DamagedModel, match="install Diffident again"):
        weights.bundled("lost")


class Small(nn.Module):
    """What timm.create_model(..., features_only=True) gives, as small as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.feature_info = types.SimpleNamespace(channels=lambda: [8, 16], reduction=lambda: [2, 4])
        self.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.norm(self.first(x)).relu()
        return [first, self.second(first)]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A module in the place of timm; says how often pretrained weights were asked for."""
    asked: list[bool] = []

    def create_model(name: str, pretrained: bool, features_only: bool) -> Small:
        assert name == "small" and features_only
        asked.append(pretrained)
        return Small()

    module = types.SimpleNamespace(create_model=create_model, is_model=lambda name: name == "small", __version__="0")
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


def test_any_network_of_timm_will_do(stub: list[bool]) -> None:
    torch.manual_seed(0)
    published, x = Timm("small"), pictures(3, 45, 70)
    assert isinstance(published, Frozen) and stub == [True] and published.blocks == {0: (8, 2), 1: (16, 4)}
    last, first = published.features(x, [1, 0])
    assert last.shape == (3, 16, 12, 18) and first.shape == (3, 8, 23, 35)
    again = frozen("timm:small", published.tensors())
    assert torch.equal(again.features(x, [1])[0], last) and torch.equal(again.features(x[1:2], [1])[0], last[1:2])
    quick = again.at("bf16").features(x, [1])[0]
    assert quick.dtype == torch.float32 and 0 < off(quick, last) < 0.05
    controls = [published.untrained(seed).features(x, [1])[0] for seed in (0, 0, 1)]
    assert torch.equal(controls[0], controls[1]) and not torch.equal(controls[0], controls[2])
    assert stub.count(True) == 1


def test_timm_is_refused_in_words(stub: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="has no network called 'large'"):
        Timm("large")
    with pytest.raises(NotAModel, match="not the weights of the network 'small' of timm"):
        frozen("timm:small", {"a": torch.zeros(1)})
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InvalidSetting, match=r"need timm: pip install 'diffident\[timm\]'"):
        Timm("small")
