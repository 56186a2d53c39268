r"""A file of structures with their labels and predictions beside them."""

import json
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from typing import Any

import numpy
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.datasets.frames.joined_frames import JoinedFrames
from torch_sake.datasets.frames.label_keys import (
    NONE,
    PREDICTED,
    is_gradient,
)
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.datasets.frames.to_ase import to_atoms
from torch_sake.potentials.strain import empty_cells
from torch_sake.utils.files import remove_incomplete, replace_when_complete
from torch_sake.utils.locks import hold_file
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import conversion_factors

NAMES = {'energy': 'energy', 'force': 'forces', 'stress': 'stress',
         'energy_std': 'energy_std', 'force_std': 'forces_std'}
ATOMIC = ('force', 'force_std')
# What would be read as something else than a number or a text:
RESERVED = ('lattice', 'properties', 'pbc', 'vec_cell', 'forces', 'stress',
            'virial')


def check_prediction_file(path: str) -> str:
    r"""Returns the path of a file that is to be written.

    Raises:
        ValueError: If there is one.
    """
    require(not osp.lexists(path),
            f"'predictions' must not exist, but there is one already: choose "
            f"another name (got {path!r})")
    return path


class PredictionFile:
    r"""An extended XYZ file of frames, each with its structure, what else is
    known of it, its labels under the names that the data have, and beside them
    the predictions, in the units of the data: :obj:`SAKE_energy`,
    :obj:`SAKE_forces`, for periodic frames :obj:`SAKE_stress`, and of
    potentials with uncertainties and of ensembles :obj:`SAKE_energy_std` and
    :obj:`SAKE_forces_std`. The number of the frame in its source is
    :obj:`SAKE_frame`, and :obj:`SAKE_source` says which one it is of several.

    Args:
        file (file): The open file.
        frames (Frames or FramesOnDisk): The frames, in the order of the
            batches.
        names (LabelConfig): What the labels are called.
    """
    def __init__(self, file: Any, frames: AnyFrames, names: LabelConfig):
        self.file = file
        self.frames = frames
        self.names = names
        self.factors: dict[str, float] = {}
        if frames.units != frames.source_units:
            self.factors = conversion_factors(frames.units,
                                              frames.source_units)
        self.num_written = 0

    def write(self, data: Data, outputs: dict[str, Tensor]) -> None:
        r"""Writes the next batch and what is predicted of it."""
        import ase.io
        ends = data.ptr.tolist()
        data = copy(data).to('cpu')  # that of the caller stays where it is
        outputs = {name: value.double().cpu()
                   for name, value in outputs.items()}
        images = []
        for row, atoms in enumerate(zip(ends, ends[1:])):
            images.append(self._image(data, outputs, row, slice(*atoms)))
        self.num_written += len(images)
        ase.io.write(self.file, images, format='extxyz')

    def _image(self, data: Data, outputs: dict[str, Tensor], row: int,
               atoms: slice) -> Any:
        image = to_atoms(data, self._factor('pos'), row, atoms)
        has_stress = 'cell' in data and bool(
            data.pbc[row].any() & ~empty_cells(data.cell[row, None])[0])
        number = self.num_written + row
        image.info.update(plain_info(self.frames.info(number)))
        source, image.info[f'{PREDICTED}frame'] = self.frames.origin(number)
        if isinstance(self.frames, JoinedFrames):
            image.info[f'{PREDICTED}source'] = as_text(source)
        for name in (self.frames.label, 'force', 'stress'):
            if name in data:
                self._put(image, self._label_name(name), name,
                          _rows(data[name], name, row, atoms))
        for name, value in outputs.items():
            if name != 'stress' or has_stress:
                self._put(image, PREDICTED + NAMES.get(name, name), name,
                          _rows(value, name, row, atoms))
        return image

    def _label_name(self, name: str) -> str:
        names = self.names
        given = {'energy': [names.energy_key], 'force': [names.forces_key],
                 'stress': [names.stress_key, names.virial_key]}
        # Labels called 'none' have not been read.
        used = [key for key in given.get(name, []) if key not in (None, NONE)]
        return used[0] if used else NAMES.get(name, name)

    def _factor(self, name: str) -> float:
        return self.factors.get(name.removesuffix('_std'), 1.0)

    def _put(self, image: Any, key: str, name: str, value: Tensor) -> None:
        # Of forces, those of some atoms may be known:
        if value.isnan().all():
            return
        array = value.numpy() * self._factor(name)
        if name in ATOMIC:
            image.arrays[key] = -array if is_gradient(key) else array
        elif name == 'stress':
            if key == self.names.virial_key:
                array = -array * image.cell.volume
            image.info[key] = array
        else:
            image.info[key] = float(array)


def _rows(value: Tensor, name: str, row: int, atoms: slice) -> Tensor:
    return value[atoms] if name in ATOMIC else value[row]


@contextmanager
def prediction_file(path: str, frames: AnyFrames,
                    names: LabelConfig) -> Iterator[PredictionFile]:
    r"""Yields a :class:`PredictionFile`, which is there when it is complete.

    Raises:
        ValueError: If there is a file of this name, or another process writes
            it.
    """
    path = osp.abspath(path)
    with hold_file(path):
        check_prediction_file(path)
        remove_incomplete(*osp.split(path))
        with replace_when_complete(path) as temporary:
            with open(temporary, 'w', encoding='utf-8') as file:
                yield PredictionFile(file, frames, names)


def plain_info(info: dict[str, Any]) -> dict[str, Any]:
    r"""Returns what is known of a frame as an extended XYZ file keeps it,
    without the predictions of an earlier evaluation.
    """
    return {key: as_text(value) if isinstance(value, str) else value
            for key, value in info.items()
            if not key.startswith(PREDICTED) and key.lower() not in RESERVED
            and key and is_kept(key, 1)}


@lru_cache(maxsize=10000)
def is_kept(key: str, value: str | int) -> bool:
    r"""Returns whether a reader finds the same."""
    from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict
    text = key_val_dict_to_str({key: value})
    read = key_val_str_to_dict(text)
    return '\n' not in text and list(read) == [key] and numpy.array_equal(
        read[key], value)


@lru_cache(maxsize=10000)
def as_text(value: str) -> str:
    r"""Returns a text as it can be written: one that would be read as a number
    or in part becomes JSON, with a mark that readers know.
    """
    if is_kept('x', value):
        return value
    # A backslash alone stands for the letter after it:
    return '_JSON ' + json.dumps(value).replace('\\', '\\\\')
