import json
import os
from typing import Any

from pytorch_lightning.plugins import CheckpointIO
from torch import Tensor

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.utils.messages import errors_name, in_words
from torch_sake.utils.paths import PathLike

# Where there was a tensor, a dictionary of tensors or a dictionary with keys
# other than strings, which JSON does not have:
TENSOR, TENSORS, ITEMS = '__tensor__', '__tensors__', '__items__'


class SafetensorsIO(CheckpointIO):
    r"""Writes and reads the checkpoints of Lightning in the format of this
    package, see :func:`~torch_sake.checkpoint.load_checkpoint`: tensors as
    safetensors, everything else as JSON, nothing pickled. A file is written
    completely or not at all.

    The tensor at :obj:`checkpoint['a']['b']` is called :obj:`"a.b"`. Tuples
    come back as lists.
    """
    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike,
                        storage_options: Any | None = None) -> None:
        tensors: dict[str, Tensor] = {}
        description = take_out(checkpoint, '', tensors)
        save_checkpoint(path, tensors, description)

    def load_checkpoint(self, path: PathLike,
                        map_location: Any | None = None,
                        weights_only: bool | None = None) -> dict[str, Any]:
        tensors, description = load_checkpoint(path)
        with errors_name(path):
            return put_back(description, tensors)

    def remove_checkpoint(self, path: PathLike) -> None:
        os.remove(path)


def take_out(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    r"""Returns the value, which JSON can hold then, without the tensors in it;
    these are added to :obj:`tensors`.

    Raises:
        ValueError: If something in it is neither a tensor nor made of numbers,
            strings, lists and dictionaries, or if two tensors would have the
            same name.
    """
    if isinstance(value, Tensor):
        if name in tensors:
            raise ValueError(f"A checkpoint must not have two tensors of the "
                             f"name '{name}'")
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, dict):
        prefix = f'{name}.' if name else ''
        out = {key: take_out(item, f'{prefix}{key}', tensors)
               for key, item in value.items()}
        if not all(isinstance(key, str) for key in value):  # parameters
            return {ITEMS: [[key, item] for key, item in out.items()]}
        if value and all(isinstance(item, Tensor) for item in value.values()):
            return {TENSORS: prefix, 'names': list(value)}
        return out
    if isinstance(value, (list, tuple)):
        return [take_out(item, f'{name}.{index}', tensors)
                for index, item in enumerate(value)]
    try:
        json.dumps(value)
    except TypeError:
        raise ValueError(f"A checkpoint must hold tensors and what JSON can "
                         f"hold (got {type(value)} as '{name}')") from None
    return value


def put_back(value: Any, tensors: dict[str, Tensor]) -> Any:
    r"""Returns what :func:`take_out` was given.

    Raises:
        ValueError: If what stands for a tensor is none of the file, or what
            stands for a dictionary is none.
    """
    if isinstance(value, list):
        return [put_back(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        if TENSOR in value:
            return tensors[value[TENSOR]]
        if TENSORS in value:
            return {name: tensors[value[TENSORS] + name]
                    for name in value['names']}
        if ITEMS in value:
            return {key: put_back(item, tensors)
                    for key, item in value[ITEMS]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{in_words(value)} must stand for tensors of the "
                         f"file (got no {error})") from error
    return {key: put_back(item, tensors) for key, item in value.items()}
