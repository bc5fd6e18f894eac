"""How a model is questioned: one walk per file, named as the file. Dropping a file here registers it."""

from ._walk import Walk, common_noise, walk_from
from .clean import Clean
from .compare import Compare
from .descend import Descend
from .encode import Encode
from .forward import Forward
from .inpaint import Inpaint
from .reconstruct import Reconstruct
from .renoise import Renoise
from .restore import Restore
from .roundtrip import RoundTrip
from .sample import Sample
from .sampled import Sampled
from .turned import Turned
from .unasked import Unasked

__all__ = [
    "Clean",
    "Compare",
    "Descend",
    "Encode",
    "Forward",
    "Inpaint",
    "Reconstruct",
    "Renoise",
    "Restore",
    "RoundTrip",
    "Sample",
    "Sampled",
    "Turned",
    "Unasked",
    "Walk",
    "common_noise",
    "walk_from",
]
