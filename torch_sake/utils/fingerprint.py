r"""What tells the content of files apart."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy
import torch
from torch import Tensor


def fingerprint(parts: Iterable[Mapping[str, Tensor]]) -> str:
    r"""Returns what tells the tensors of checkpoints, or of frames, apart. It
    is kept in checkpoints and must stay as it is.
    """
    content = hashlib.sha256()
    for tensors in parts:
        for name in sorted(tensors):
            content.update(name.encode())
            content.update(tensors[name].numpy().tobytes())
    return content.hexdigest()


def digest(arrays: Mapping[str, Tensor | numpy.ndarray],
           text: str = '') -> str:
    r"""Returns what tells apart all that a file means: names, types, shapes
    and values of its arrays, and a text.
    """
    arrays = {name: arrays[name] for name in sorted(arrays)}
    # What all bytes that follow belong to:
    layout = [[name, str(value.dtype), list(value.shape)]
              for name, value in arrays.items()]
    content = hashlib.sha256(json.dumps([text, layout]).encode())
    for value in arrays.values():
        if isinstance(value, Tensor):  # of types that numpy may not have
            value = value.contiguous().view(-1).view(torch.uint8).numpy()
        content.update(value.tobytes())
    return content.hexdigest()
