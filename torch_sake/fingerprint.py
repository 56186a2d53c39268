import hashlib
from typing import Iterable, Mapping

from torch import Tensor


def fingerprint(parts: Iterable[Mapping[str, Tensor]]) -> str:
    r"""Returns what tells the tensors of checkpoints, or of frames, apart."""
    digest = hashlib.sha256()
    for tensors in parts:
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
