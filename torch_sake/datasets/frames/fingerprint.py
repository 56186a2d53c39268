import math

from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.utils.fingerprint import fingerprint

SAMPLE = 10_000


def frames_fingerprint(frames: AnyFrames) -> str:
    r"""Returns what tells data apart, in memory or on disk: how many atoms
    each frame has, and what up to 10,000 frames consist of, without what was
    added to them.
    """
    sample = frames[::math.ceil(len(frames) / SAMPLE)]
    return fingerprint([{'num_atoms': frames.num_atoms},
                        *({key: value for key, value in data.to_dict().items()
                           if key not in frames.entries} for data in sample)])
