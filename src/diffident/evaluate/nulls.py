"""Null scores and cheap baselines: what a diffusion score must beat before it has shown anything.

A null score looks at one item and knows nothing of what is normal; many data sets are separable by one of them, because
the strange items came from another camera, another encoder or another hour. A baseline learns from the normal items in a
second. Both are printed beside every figure of the benchmarks. Larger is stranger throughout; where the sign of a null
is a mere convention its line says so, and its reverse (1 - AUROC) tells as much.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidSetting, WrongShape


def random_score(m: int, seed: int = 0) -> np.ndarray:
    """Numbers drawn before looking at anything: the ranking that luck gives.

    Args:
        m: number of items.
        seed: of the draw.

    Returns:
        (m,) uniform in [0, 1).

    Raises:
        InvalidSetting: fewer than zero items.

    Example:
        >>> random_score(3).round(2).tolist()
        [0.64, 0.27, 0.04]

    Source: the permutation null; Fisher, The design of experiments, 1935.
    """
    if m < 0:
        raise InvalidSetting(f"cannot score {m} items at random; give zero or more")
    return np.random.default_rng(seed).random(m)


def constant(items: ArrayLike) -> np.ndarray:
    """The same number for every item: AUROC is exactly 0.5, and a metric that says otherwise breaks ties wrongly.

    Args:
        items: (m, d...).

    Returns:
        (m,) zeros.

    Example:
        >>> constant(np.ones((2, 1, 4, 4))).tolist()
        [0.0, 0.0]

    Source: the tie convention of Mann and Whitney, On a test of whether one of two random variables is larger, 1947.
    """
    return np.zeros(len(_finite(items)))


def brightness(items: ArrayLike) -> np.ndarray:
    """The mean of all elements: another lamp or another exposure. That brighter is stranger is a convention.

    Args:
        items: (m, d...).

    Returns:
        (m,) in the units of the items.

    Raises:
        WrongShape: no elements in an item.
        InvalidSetting: an element that is not finite.

    Example:
        >>> brightness(np.stack([np.zeros((1, 4, 4)), np.ones((1, 4, 4))])).tolist()
        [0.0, 1.0]

    Source: Gonzalez and Woods, Digital image processing, moments of the intensity histogram.
    """
    return _flat(items).mean(axis=1)


def contrast(items: ArrayLike) -> np.ndarray:
    """The standard deviation over all elements. That more contrast is stranger is a convention.

    Args:
        items: (m, d...).

    Returns:
        (m,) in the units of the items, never negative.

    Raises:
        WrongShape: no elements in an item.
        InvalidSetting: an element that is not finite.

    Example:
        >>> contrast(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist()
        [0.0, 1.0]

    Source: Peli, Contrast in complex images, JOSA A 1990 (root mean square contrast).
    """
    return _flat(items).std(axis=1)


def sharpness(items: ArrayLike) -> np.ndarray:
    """Laplacian energy: how much fine detail, noise and coding grain there is. That sharper is stranger is a convention.

    mean((x[up] + x[down] + x[left] + x[right] - 4 x)^2) over channels and over the positions that have all four neighbours.

    Args:
        items: (m, h, w) or (m, c, h, w), at least three positions high and wide.

    Returns:
        (m,) in squared units of the items, never negative.

    Raises:
        WrongShape: not pictures of at least 3 by 3.
        InvalidSetting: an element that is not finite.

    Example:
        >>> grid = np.indices((4, 4)).sum(axis=0) % 2
        >>> sharpness(np.stack([np.zeros((1, 4, 4)), grid[None]])).tolist()
        [0.0, 16.0]

    Source: Subbarao, Choi and Nikzad, Focusing techniques, Optical Engineering 1993 (energy of the Laplacian).
    """
    x = _pictures(items)
    if min(x.shape[-2:]) < 3:
        raise WrongShape(f"a Laplacian needs pictures of at least 3 by 3, these are {x.shape[-2]} by {x.shape[-1]}")
    centre = x[..., 1:-1, 1:-1]
    around = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
    return ((around - 4 * centre) ** 2).mean(axis=(1, 2, 3))


def png_size(items: ArrayLike, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Bytes of the item as an 8-bit PNG: how hard it is to compress. That larger is stranger is a convention.

    Args:
        items: (m, h, w) or (m, c, h, w) with one channel (grey) or three (red, green, blue).
        low: the value of black.
        high: the value of white.

    Returns:
        (m,) bytes.

    Raises:
        WrongShape: not pictures with one or three channels.
        InvalidSetting: an element outside [low, high], or a range without width.

    Example:
        >>> flat, noisy = png_size(np.stack([np.zeros((1, 16, 16)), random_score(256).reshape(1, 16, 16)]))
        >>> bool(flat < noisy)
        True

    Source: Serrà et al., Input complexity and out-of-distribution detection with likelihood-based generative models, ICLR 2020.
    """
    x = _pictures(items)
    if x.shape[1] not in (1, 3):
        raise WrongShape(f"a PNG holds one channel or three, these items have {x.shape[1]}")
    if not low < high or (x.size and (x.min() < low or x.max() > high)):
        raise InvalidSetting(f"items must lie between low = {low} and high = {high} to be written as PNG; pass the values of black and white")
    pixels = np.rint((x - low) * (255 / (high - low))).astype(np.uint8)
    return np.array([_png_bytes(item) for item in pixels], dtype=np.float64)


def trivial3(train: ArrayLike, items: ArrayLike) -> np.ndarray:
    """Three numbers anybody can read off a picture, and how far they lie from those of normal pictures.

    Squared Mahalanobis distance (v - mean)^T C^-1 (v - mean) with v = (brightness, contrast, sharpness), mean and
    covariance C of the training items; a millionth of each variance is added to C, so that numbers tied together in
    training can be inverted.

    Args:
        train: (n, h, w) or (n, c, h, w) normal items, at least four.
        items: (m, h, w) or (m, c, h, w).

    Returns:
        (m,) without unit; about 3 for a normal item, larger is stranger.

    Raises:
        WrongShape: pictures of another size, fewer than four to learn from, or smaller than 3 by 3.
        InvalidSetting: an element that is not finite.

    Example:
        >>> normal = np.random.default_rng(0).random((50, 1, 8, 8))
        >>> bool(trivial3(normal, np.zeros((1, 1, 8, 8))) > trivial3(normal, normal).max())
        True

    Source: Mahalanobis, On the generalised distance in statistics, 1936.
    """
    known, asked = _pair(train, items, at_least=4)
    features, asked_features = (np.stack([brightness(x), contrast(x), sharpness(x)], axis=1) for x in (known, asked))
    # in units of each number's own scatter; a number that never varied keeps a tiny one, so that any change of it counts
    scale = np.maximum(features.std(axis=0), 1e-9 * np.abs(features).max(axis=0) + 1e-12)
    z, asked_z = ((f - features.mean(axis=0)) / scale for f in (features, asked_features))
    covariance = z.T @ z / len(z) + 1e-6 * np.eye(3)
    return (asked_z * np.linalg.solve(covariance, asked_z.T).T).sum(axis=1)


def pixel_knn(train: ArrayLike, items: ArrayLike, k: int = 1) -> np.ndarray:
    """How far the item is from the k-th most similar normal item, pixel by pixel.

    Args:
        train: (n, d...) normal items.
        items: (m, d...).
        k: which neighbour, 1 = the nearest.

    Returns:
        (m,) Euclidean distances in the units of the items; larger is stranger. A training item is at 0 from itself.

    Raises:
        WrongShape: items of another shape than the training items.
        InvalidSetting: k outside 1..n, or an element that is not finite.

    Example:
        >>> pixel_knn(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 1.0]])).tolist()
        [1.0]

    Source: Ramaswamy, Rastogi and Shim, Efficient algorithms for mining outliers from large data sets, SIGMOD 2000.
    """
    from sklearn.neighbors import NearestNeighbors

    known, asked = _pair(train, items, at_least=1)
    if not 1 <= k <= len(known):
        raise InvalidSetting(f"cannot ask for neighbour {k} among {len(known)} training items; give k from 1 to {len(known)}")
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_flat(known))
    return search.kneighbors(_flat(asked))[0][:, -1]


def pixel_pca(train: ArrayLike, items: ArrayLike, share: float = 0.9) -> np.ndarray:
    """What the principal components of normal items cannot draw: ``|x - mean - W W^T (x - mean)|^2`` per element.

    W holds the fewest leading components that explain the given share of the training variance.

    Args:
        train: (n, d...) normal items, at least two that differ.
        items: (m, d...).
        share: of the variance to be explained, in (0, 1).

    Returns:
        (m,) mean squared residual, in squared units of the items; larger is stranger.

    Raises:
        WrongShape: items of another shape than the training items, or fewer than two to learn from.
        InvalidSetting: a share outside (0, 1), training items that are all equal, or an element that is not finite.

    Example:
        >>> line = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        >>> pixel_pca(line, np.array([[5.0, 5.0], [2.0, 0.0]])).round(6).tolist()
        [0.0, 1.0]

    Source: Jackson and Mudholkar, Control procedures for residuals associated with principal component analysis, Technometrics 1979.
    """
    from sklearn.decomposition import PCA

    known, asked = _pair(train, items, at_least=2)
    if not 0 < share < 1:
        raise InvalidSetting(f"cannot keep components for a share of {share} of the variance; give a share between 0 and 1, such as 0.9")
    if not np.ptp(_flat(known), axis=0).any():
        raise InvalidSetting(f"all {len(known)} training items are equal and have no components; give items that differ")
    model = PCA(n_components=share, random_state=0).fit(_flat(known))
    flat = _flat(asked)
    return ((flat - model.inverse_transform(model.transform(flat))) ** 2).mean(axis=1)


#: what looks at the items alone, for tables: name to function of the items
NULLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "random": lambda items: random_score(len(items)),
    "constant": constant,
    "brightness": brightness,
    "contrast": contrast,
    "sharpness": sharpness,
    "png_size": png_size,
}

#: what learns from normal items, for tables: name to function of the training items and the items
BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "trivial3": trivial3,
    "pixel_knn": pixel_knn,
    "pixel_pca": pixel_pca,
}


def _finite(items: ArrayLike) -> np.ndarray:
    x = np.asarray(items, dtype=np.float64)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise WrongShape(f"items must be (m, d...) with at least one element each, these are {x.shape}; put the items along the first axis")
    if bad := int((~np.isfinite(x)).sum()):
        raise InvalidSetting(f"{bad} of {x.size} elements of the items are not finite; leave unreadable items out, and say how many")
    return x


def _flat(items: ArrayLike) -> np.ndarray:
    x = _finite(items)
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def _pictures(items: ArrayLike) -> np.ndarray:
    """(m, c, h, w), with the channel added where there is none."""
    x = _finite(items)
    if x.ndim not in (3, 4):
        raise WrongShape(f"pictures must be (m, h, w) or (m, c, h, w), these are {x.shape}")
    return x if x.ndim == 4 else x[:, None]


def _pair(train: ArrayLike, items: ArrayLike, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    known, asked = _finite(train), _finite(items)
    if known.shape[1:] != asked.shape[1:]:
        raise WrongShape(f"items of shape {asked.shape[1:]} cannot be compared with training items of shape {known.shape[1:]}; bring them to one size")
    if len(known) < at_least:
        raise WrongShape(f"{len(known)} training items are too few to learn from; give at least {at_least}")
    return known, asked


def _png_bytes(item: np.ndarray) -> int:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(item[0] if len(item) == 1 else np.moveaxis(item, 0, -1)).save(buffer, format="PNG")
    return buffer.tell()
