r"""Checkpoints: one file of tensors in the safetensors format, which holds no
code, and a description in JSON in its header.
"""

import json
import os
import os.path as osp
import platform
import warnings
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from torch_sake.utils.files import replace_when_complete
from torch_sake.utils.fingerprint import digest
from torch_sake.utils.inputs import find_checkpoint
from torch_sake.utils.messages import errors_name, in_words
from torch_sake.utils.paths import PathLike
from torch_sake.utils.pyg import torch_geometric
from torch_sake.utils.released import is_released, runs_of
from torch_sake.version import __version__

# In 2, edges of VectorSAKE know their angles; in 3, the lengths of its vectors
# have no kink, and the logits of SAKE with a cutoff are bounded.
FORMAT = 3
# Of the metadata in the header of the file:
DESCRIPTION, DIGEST = 'torch_sake', 'digest'


def save_checkpoint(path: PathLike, tensors: dict[str, Tensor],
                    description: dict[str, Any]) -> None:
    r"""Writes a checkpoint, completely or not at all. The versions of all that
    takes part are added to the description.
    """
    description = dict(
        description, format=FORMAT, versions={
            'torch_sake': __version__,
            'torch': torch.__version__,
            'torch_geometric': torch_geometric.__version__,
            'python': platform.python_version(),
        })
    tensors = {
        key: value.detach().cpu().contiguous().clone()
        for key, value in tensors.items()
    }
    text = json.dumps(description)
    content = safetensors.torch.save(tensors, metadata={
        DESCRIPTION: text, DIGEST: digest(tensors, text)})
    with replace_when_complete(path) as temporary:
        # Not by save_file: only its owner could read the file.
        with open(temporary, 'wb') as file:
            file.write(content)


def load_checkpoint(
        path: PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    r"""Returns the tensors and the description of a checkpoint.

    Args:
        path (str or os.PathLike): The file, or the folder of a training run,
            of which the best checkpoint is taken, or
            :obj:`'pretrained:NAME'`.

    Raises:
        ValueError: If there is none, or it was written by a version of this
            package that this one does not understand.
    """
    path = find_checkpoint(path)
    with errors_name(path):
        return _read(path)


def _read(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    # Not by safe_open, whose tensors lie in the file: they would change with
    # it, or end the process if it became shorter.
    with open(path, 'rb') as file:
        content = file.read()
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"'{path}' is not a complete safetensors file "
                         f"({error})") from error
    end = 8 + int.from_bytes(content[:8], 'little')
    metadata = json.loads(content[8:end]).get('__metadata__') or {}
    if DESCRIPTION not in metadata:
        raise ValueError(f"'{path}' is not a checkpoint of torch_sake")
    try:
        description = json.loads(metadata[DESCRIPTION])
        version = description.get('format'), description.get('versions')
    except (ValueError, RecursionError, AttributeError) as error:
        raise ValueError(f"'{path}' is damaged: Its description is no "
                         f"dictionary in JSON ({error})") from error
    if version[0] != FORMAT:
        raise ValueError(
            f"'{path}' must be a checkpoint of format {FORMAT} (got format "
            f"{in_words(version[0])}, written by {in_words(version[1])})")
    if metadata.keys() == {DESCRIPTION}:
        warnings.warn(f"'{path}' is of an older version of torch_sake, "
                      f"without a digest: damage to it would not be seen")
    elif metadata.keys() != {DESCRIPTION, DIGEST} or (
            metadata[DIGEST] != digest(tensors, metadata[DESCRIPTION])):
        raise ValueError(f"'{path}' is damaged: Its tensors and its "
                         f"description are not those that were written")
    return tensors, description


def folder_of(path: PathLike) -> str:
    r"""Returns the folder of a training run, given itself or one of its
    checkpoints, or that of what is done with a potential of the package.
    """
    if is_released(path):
        return runs_of(path)
    return os.fspath(path) if osp.isdir(path) else osp.dirname(path)
