"""The one question asked of a model, E[x0 | x_t], and the denoisers that answer it exactly.

For x_t = alpha x_0 + sigma eps, the answer is known in closed form when x_0 comes from a Gaussian mixture or from a
finite set. The first is the known truth of the tests; the second is a real model: it needs no training and keeps the
items it was shown. Every answer y gives the score by Tweedie's formula, (alpha y - x_t) / sigma^2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import noise, registry
from .errors import InvalidSetting, NoActivations, Unconditional, WrongShape
from .noise import normal

Level = float | Tensor


class Denoiser(ABC):
    """Answers: what was there before the noise?

    Subclasses implement ``__call__``. The answer for one item may not depend on the others that are asked with it.
    """

    @abstractmethod
    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        """E[x0 | x_t] of each item.

        Args:
            x_t: noisy items, x_t = alpha x_0 + sigma eps.
            alpha: what is left of the item; a number, or one per item (n,).
            sigma: standard deviation of the noise, above 0; a number, or one per item (n,).
        """

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """An answer brought to what items can be at all: within [-1, 1]. In a space where that says something else, see ``diffident.spaces``."""
        return answer.clamp(-1, 1)

    def drawn(self, items: Float[Tensor, "n *shape"], purpose: str, *numbers: int) -> Float[Tensor, "..."]:
        """The noise that a walk puts on items, float32: one tensor (*shape) common to all of them, known by its name alone.

        Where items are tiles of something larger, one for each, (n, *shape): that of its place, so that overlapping tiles agree.
        """
        return noise.normal(tuple(items.shape[1:]), purpose, *numbers).to(items)

    def decoded(self, elements: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *item"]:
        """Elements as the items that people see: the same, unless they live in another space, see ``diffident.spaces``.

        Raises:
            InvalidSetting: a space from which nothing comes back.
        """
        return elements

    def given(self, condition: object) -> Denoiser:
        """The denoiser of p(x | condition): a class, a prompt, an image.

        Raises:
            Unconditional: this denoiser takes no condition, or not that one.
        """
        raise Unconditional(f"{type(self).__name__} takes no condition; it was given {condition!r}. Ask it without one, or use a conditional model")

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        """The answer, and what the network holds in the streams of those names while it finds it: (n, channels, *grid) each, float32. One evaluation.

        Raises:
            NoActivations: there is no network, or it has no such stream.
        """
        raise NoActivations(
            f"{type(self).__name__} answers without a network, so that there are no activations of {', '.join(streams)}; "
            "learn one (diffident train --network unet), or use a recipe without activations, such as 'partial'"
        )


class Watched(Denoiser):
    """Answers as another, and keeps what its network held when it was last asked: a probe reads that without asking again.

    Made anew for every walk. Questions that carry a gradient belong to other probes and are not kept.
    """

    def __init__(self, inner: Denoiser, streams: Sequence[str]) -> None:
        self.inner, self.streams = inner, tuple(streams)
        self._last: tuple[Tensor, Level, Level, Tensor, Mapping[str, Tensor]] | None = None

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        if x_t.requires_grad:
            return self.inner(x_t, alpha, sigma)
        answer, held = self.inner.watched(x_t, alpha, sigma, self.streams)
        self._last = x_t, alpha, sigma, answer, held
        return answer

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        last = self._last
        if last and last[0] is x_t and last[1] is alpha and last[2] is sigma and set(streams) <= set(last[4]):
            return last[3], last[4]
        return self.inner.watched(x_t, alpha, sigma, streams)

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return self.inner.kept(answer)

    def drawn(self, items: Float[Tensor, "n *shape"], purpose: str, *numbers: int) -> Float[Tensor, "..."]:
        return self.inner.drawn(items, purpose, *numbers)

    def decoded(self, elements: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *item"]:
        return self.inner.decoded(elements)

    def given(self, condition: object) -> Denoiser:
        return Watched(self.inner.given(condition), self.streams)


class StoredDenoiser(Denoiser):
    """A denoiser that can be kept in a folder, found again by its registered name, and identified bit by bit."""

    def config(self) -> dict[str, Any]:
        """What is needed beside the tensors, as plain data for JSON."""
        return {}

    def identity(self) -> dict[str, Any]:
        """The same, but for where things lie: what tells it from others, beside its tensors."""
        return self.config()

    @property
    def kind(self) -> str:
        """The name under which it is found again.

        Raises:
            UnknownName: it is not registered.
        """
        return registry.name_of("denoisers", type(self))

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The numbers that :meth:`made_of` needs to make the same denoiser again."""

    @classmethod
    @abstractmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> StoredDenoiser:
        """The denoiser whose :meth:`config` and :meth:`tensors` these are."""

    @property
    def precision(self) -> str:
        """Of its arithmetic: ``fp32``, or ``bf16`` where a network makes use of it. No part of its identity."""
        return "fp32"

    def at(self, precision: str) -> StoredDenoiser:
        """The same denoiser with that arithmetic: ``auto``, ``fp32`` or ``bf16``. An exact one has single precision only."""
        return self

    @abstractmethod
    def untrained(self, seed: int = 0) -> StoredDenoiser:
        """The control: a denoiser of the same kind and size that has learned nothing. Another seed, another one.

        What a score reaches with it, it does not owe to what the model has learned.
        """


def _widened(rows: Tensor) -> Tensor:
    """Rows with zeros up to a multiple of 16 columns: matrix kernels round a ragged edge by the row's place in the batch."""
    return torch.nn.functional.pad(rows, (0, -rows.shape[1] % 16))


def per_item(level: Level, x: Tensor) -> Tensor:
    """A level as a column (n, 1) that multiplies flattened items.

    Raises:
        WrongShape: neither one number nor one per item.
    """
    level = torch.as_tensor(level, dtype=x.dtype, device=x.device)
    if level.ndim == 0:
        return level.expand(len(x), 1)
    if level.shape != (len(x),):
        raise WrongShape(f"a level is one number or one per item; got shape {tuple(level.shape)} for {len(x)} items")
    return level[:, None]


@registry.registered("denoisers", "mixture")
class GaussianMixture(StoredDenoiser):
    """The exact denoiser of a Gaussian mixture, in any dimension, with full covariances.

    With components N(m_k, C_k) of weight w_k the noisy item has components N(alpha m_k, alpha^2 C_k + sigma^2 I); the
    answer is the mean over components, by responsibility, of m_k + alpha C_k (alpha^2 C_k + sigma^2 I)^-1 (x_t - alpha m_k).
    Each covariance is diagonalised once, so that a level costs two matrix products. ``given(k)`` is component ``k`` alone.

    Args:
        means: (k, *shape).
        covariances: (k, d, d) with d the product of shape, symmetric and positive semi-definite; or (k,), isotropic variances.
        weights: (k,), positive; only their ratios count.

    Raises:
        WrongShape: the parts do not fit together.
        InvalidSetting: weights that are not positive, or a covariance with a negative eigenvalue.

    >>> halves = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]), torch.tensor([0.5, 0.5]))
    >>> halves(torch.tensor([[0.0], [0.9]]), 1.0, 0.1)
    tensor([[0.0000],
            [0.9500]])
    """

    def __init__(self, means: Float[Tensor, "k *shape"], covariances: Float[Tensor, "..."], weights: Float[Tensor, " w"] | None = None) -> None:
        count, dims = len(means), math.prod(means.shape[1:])
        weights = torch.ones(count) if weights is None else weights
        if weights.shape != (count,) or covariances.shape not in {(count,), (count, dims, dims)}:
            raise WrongShape(
                f"a mixture of {count} components in {dims} dimensions needs weights ({count},) and covariances ({count},) or "
                f"({count}, {dims}, {dims}); got {tuple(weights.shape)} and {tuple(covariances.shape)}"
            )
        if not (count and torch.isfinite(covariances).all() and torch.isfinite(means).all()):
            raise InvalidSetting(f"a mixture needs at least one component, of finite numbers; got {count}")
        if not (weights > 0).all():
            raise InvalidSetting(f"weights of a mixture must be positive; got {weights.tolist()}")
        self.shape = means.shape[1:]
        self.means, self.covariances, self.weights = means.flatten(1), covariances, weights
        self.variances, self.axes = _diagonalise(covariances, dims, means.dtype)

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        x, a, s = x_t.flatten(1), per_item(alpha, x_t), per_item(sigma, x_t)
        log_weights, answers = zip(*(self._component(k, x, a, s) for k in range(len(self.means))), strict=True)
        share = torch.softmax(torch.stack(log_weights), dim=0)
        return (share[..., None] * torch.stack(answers)).sum(0).reshape(x_t.shape)

    def log_density(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, " n"]:
        """log p(x_t) in nats, exact: what the score is the gradient of."""
        x, a, s = x_t.flatten(1), per_item(alpha, x_t), per_item(sigma, x_t)
        logs = torch.stack([self._component(k, x, a, s)[0] for k in range(len(self.means))])
        return torch.logsumexp(logs, 0) - self.weights.sum().log() - 0.5 * x.shape[1] * math.log(2 * math.pi)

    def draw(self, n: int, seed: int = 0) -> Float[Tensor, "n *shape"]:
        """``n`` exact draws of x_0."""
        generator = torch.Generator().manual_seed(seed)
        of = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        white = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float32).to(self.means)
        coloured = torch.einsum("nij,nj->ni", self.axes[of], self.variances[of].sqrt() * white) if self.axes is not None else self.variances[of].sqrt() * white
        return (self.means[of] + coloured).reshape(n, *self.shape)

    def given(self, condition: object) -> GaussianMixture:
        """Component ``condition`` (an index) alone."""
        if not isinstance(condition, int) or not 0 <= condition < len(self.means):
            raise Unconditional(f"the condition of a mixture is the index of a component, 0 to {len(self.means) - 1}; it was given {condition!r}")
        at = slice(condition, condition + 1)
        return GaussianMixture(self.means[at].reshape(1, *self.shape), self.covariances[at], torch.ones_like(self.weights[at]))

    def tensors(self) -> dict[str, Tensor]:
        return {"means": self.means.reshape(-1, *self.shape), "covariances": self.covariances, "weights": self.weights}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> GaussianMixture:
        return cls(tensors["means"], tensors["covariances"], tensors["weights"])

    def untrained(self, seed: int = 0) -> GaussianMixture:
        """As many components about white noise, isotropic, of this mixture's overall mean and deviation: half of the variance within them."""
        share = (self.weights / self.weights.sum())[:, None]
        mean = (share * self.means).sum(0).mean()
        half = (share * ((self.means - mean).square() + self.variances)).sum(0).mean() / 2
        means = mean + half.sqrt() * normal(tuple(self.means.shape), "untrained", seed).to(self.means)
        same = torch.ones_like(self.covariances) if self.axes is None else torch.eye(self.means.shape[1]).expand_as(self.covariances)
        return GaussianMixture(means.reshape(-1, *self.shape), half.to(self.covariances) * same.to(self.covariances), self.weights)

    def _component(self, k: int, x: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Log weight (up to the common constant) and answer of one component."""
        off = x - a * self.means[k]
        along = (off @ _widened(self.axes[k]))[:, : off.shape[1]] if self.axes is not None else off
        spread = a.square() * self.variances[k] + s.square()
        log_weight = self.weights[k].log() - 0.5 * (along.square() / spread + spread.log()).sum(1)
        step = a * self.variances[k] / spread * along
        return log_weight, self.means[k] + ((step @ _widened(self.axes[k].T))[:, : off.shape[1]] if self.axes is not None else step)


def _diagonalise(covariances: Tensor, dims: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Eigenvalues (k, d) and eigenvectors (k, d, d), or none where the covariances are isotropic."""
    if covariances.ndim == 1:
        values, axes = covariances.double()[:, None].expand(-1, dims), None
    else:
        values, axes = torch.linalg.eigh(covariances.double())
    if values.min() < -1e-6 * values.abs().max():
        raise InvalidSetting(f"a covariance must be positive semi-definite; the smallest eigenvalue is {values.min():.3g}")
    return values.clamp(min=0).to(dtype), None if axes is None else axes.to(dtype)


@registry.registered("denoisers", "empirical")
class Empirical(StoredDenoiser):
    """The exact denoiser of a finite set: the mean of its items, weighted by how well each explains what is seen.

    The answer is sum_i w_i x_i with w_i proportional to exp(-||x_t - alpha x_i||^2 / (2 sigma^2)). As sigma falls it
    becomes the nearest item: nearest-neighbour search is its limit. The set is read in blocks with a running
    log-sum-exp, so that asking needs no memory to speak of: 60,000 images of 28 x 28 weigh 188 MB, twice that when held.
    ``given(label)`` keeps the items of one label.

    Args:
        items: (m, *shape), the finite set.
        labels: one per item, plain text or numbers, or none.
        block: how many items of the set are compared at a time.

    Raises:
        WrongShape: no items, or as many labels as there are not items.

    >>> two = Empirical(torch.tensor([[-1.0], [1.0]]))
    >>> two(torch.tensor([[0.9], [0.0]]), 1.0, 0.1).squeeze().tolist()
    [1.0, 0.0]
    """

    def __init__(self, items: Float[Tensor, "m *shape"], labels: Sequence[object] = (), block: int = 8192) -> None:
        if block < 1:
            raise InvalidSetting(f"a block holds one item or more; got {block}")
        if not len(items) or (len(labels) and len(labels) != len(items)):
            raise WrongShape(f"an empirical denoiser needs at least one item and as many labels or none; got {len(items)} and {len(labels)}")
        self.items, self.labels, self.block = items, tuple(labels), block
        total = torch.stack([part.flatten(1).double().sum(0) for part in items.split(block)]).sum(0)
        self.centre = (total / len(items)).to(items.dtype)  # distances about the centre lose fewer digits
        self._bank = _widened(items.flatten(1) - self.centre)
        self._norms = torch.cat([part.double().square().sum(1) for part in self._bank.split(block)]).to(items.dtype)

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        a, s = per_item(alpha, x_t), per_item(sigma, x_t)
        seen = _widened(x_t.flatten(1) - a * self.centre)
        top, total, mean = torch.full_like(a, -math.inf), torch.zeros_like(a), torch.zeros_like(seen)
        for bank, norms in zip(self._bank.split(self.block), self._norms.split(self.block), strict=True):
            # the part of -||x - a y||^2 / 2 s^2 that differs between items of the set
            products = (seen @ _widened(bank.T))[:, : len(bank)]
            logits = (a * products - 0.5 * a.square() * norms) / s.square()
            higher = torch.maximum(top, logits.amax(1, keepdim=True))
            weights, kept = torch.exp(logits - higher), torch.exp(top - higher)
            total, mean, top = total * kept + weights.sum(1, keepdim=True), mean * kept + weights @ bank, higher
        return ((mean / total)[:, : len(self.centre)] + self.centre).reshape(x_t.shape)

    def given(self, condition: object) -> Empirical:
        """The items whose label is ``condition``."""
        rows = [i for i, label in enumerate(self.labels) if label == condition]
        if not rows:
            raise Unconditional(f"no item of this set is labelled {condition!r}; its labels are {sorted(map(str, set(self.labels))) or 'none'}")
        return Empirical(self.items[rows], [condition] * len(rows), self.block)

    def config(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "block": self.block}  # sums in other blocks differ in their last bits

    def tensors(self) -> dict[str, Tensor]:
        return {"items": self.items}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Empirical:
        return cls(tensors["items"], config["labels"], config["block"])

    def untrained(self, seed: int = 0) -> Empirical:
        """White noise in place of the items: as many, of their overall mean and deviation."""
        noise = normal(tuple(self.items.shape), "untrained", seed).to(self.items)
        return Empirical(self.items.mean() + self.items.std(correction=0) * noise, self.labels, self.block)
