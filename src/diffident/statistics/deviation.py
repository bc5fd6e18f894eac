"""Deviation: where pixels and the model's own view agree that something was taken away."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic
from .semantic import semantic


@statistic(tail="upper", says="is put right in pixels and in meaning", probes=semantic.probes, per_element=True, world="sighted")
def deviation(trajectory: Trajectory) -> Float[Tensor, "n *shape"]:
    """Where the restored item differs both in its elements and in what the model's network makes of it.

    sqrt(|denoised - origin| semantic) at the last look, with ``semantic`` the discrepancy of the network's activations: large only
    where both are.

    Trust it where either alone alarms too often: noise that is smoothed away changes elements and no meaning. It needs a
    denoiser with a network. The published map also clips and blurs its factors, by constants of its own scales; here it does not.

    Walks: Compare of Restore. Shape: (n, *shape). Unit: root of an element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.networks import UNet
    >>> from diffident.precondition import Learned
    >>> from diffident.walks import Compare, Restore
    >>> model = Learned(UNet(1, widths=(32, 32)), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), "fp32").untrained()
    >>> film = Compare(Restore())(model, torch.ones(2, 1, 8, 8), deviation.probes)
    >>> deviation.map(film).shape, bool((deviation.map(film) > 0).all())
    (torch.Size([2, 1, 8, 8]), True)

    Source: He et al. 2025 (DeCo-Diff, CVPR), the geometric mean of pixel and latent differences.
    """
    return ((trajectory.denoised[-1] - trajectory.origin).abs() * semantic.map(trajectory)).sqrt()
