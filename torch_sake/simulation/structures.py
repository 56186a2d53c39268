from typing import Any

import numpy
import torch

from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets.frames.ase_structures import (
    NoStructure,
    ase_structure,
)
from torch_sake.datasets.frames.frame_arrays import (
    Source,
    check_cells,
    check_values,
)
from torch_sake.datasets.frames.frames import STRUCTURE, Frames
from torch_sake.neighbors import neighbor_list
from torch_sake.potentials.description import check_kind
from torch_sake.utils.bounds import MAX_LABEL
from torch_sake.utils.entries import errors_name
from torch_sake.utils.files import PathLike
from torch_sake.utils.fingerprint import fingerprint
from torch_sake.utils.inputs import find_checkpoint, find_structure
from torch_sake.utils.units import check_units

# What a structure consists of, beside its cell and constraints:
ARRAYS = {'numbers', 'positions', 'momenta', 'masses', 'tags'}


def read_structure(path: PathLike | None, checkpoint: PathLike) -> Any:
    r"""Returns a structure as :class:`ase.Atoms`.

    Args:
        path (str or os.PathLike or None): A file that ASE reads;
            :obj:`'file@3'` is its fourth structure, if there is no file of
            just this name; without a number it is the last one. If
            :obj:`None`, it is the structure in the checkpoint.
        checkpoint (str or os.PathLike): The checkpoint.

    Raises:
        ImportError: If ASE is missing.
        ValueError: If the file is missing or cannot be read, a number in it is
            not finite or too large, or if none is given and there is none in
            the checkpoint.
    """
    try:
        import ase  # noqa: F401
    except ImportError as error:
        raise ImportError("Simulations need ASE: "
                          "pip install 'torch-sake[train]'") from error
    if path is None:
        return _structure_of(checkpoint)
    name, index = find_structure(path)
    try:
        atoms = ase_structure(name, index)
    except NoStructure:
        raise ValueError(f"'structure' must be one that the file has "
                         f"(got '{path}')") from None
    _check_structure(atoms, name, index)
    return _without_labels(atoms)


def _check_structure(atoms: Any, name: str, index: int) -> None:
    r"""Checks the numbers of a structure as those of frames of data."""
    source = Source(f"'{name}'", index)
    if len(atoms) == 0:
        raise ValueError(f"{source.frame(0)}: 'structure' must have atoms")
    check_values(source, {
        'z': torch.from_numpy(atoms.numbers),
        'pos': torch.from_numpy(atoms.positions)},
        torch.tensor([0, len(atoms)]))
    check_cells(source, 1, atoms.cell.array[None], atoms.pbc[None], None)
    for key, value in (('momenta', atoms.get_momenta()),
                       ('masses', atoms.get_masses())):
        wrong = ~(numpy.abs(value) <= MAX_LABEL)
        if key == 'masses':
            wrong |= value <= 0
        if wrong.any():
            raise ValueError(f"{source.frame(0)}: '{key}' must be finite, and "
                             f"masses positive (got {value[wrong][0]})")


def _without_labels(atoms: Any) -> Any:
    r"""Returns the structure alone. What else its file says of it, such as
    labels of another level of theory, is not true of those that follow.
    """
    atoms = atoms.copy()
    atoms.info = {}
    for name in atoms.arrays.keys() - ARRAYS:
        del atoms.arrays[name]
    return atoms


def identity_of(atoms: Any) -> dict[str, Any]:
    r"""Returns what of a structure stays as it is in a simulation: atomic
    numbers, periodic directions, masses, and constraints as text.
    """
    from ase.io.jsonio import encode
    return {
        'numbers': atoms.numbers,
        'pbc': atoms.pbc,
        'masses': atoms.get_masses(),
        'constraints': encode([constraint.todict()
                               for constraint in atoms.constraints]),
    }


def lost_atoms(atoms: Any, cutoff: float) -> list[int]:
    r"""Returns those of several atoms that have no neighbor within a cutoff in
    Angstrom: nothing acts on them.
    """
    if len(atoms) == 1:
        return []
    cell = torch.from_numpy(atoms.cell.array) if atoms.pbc.any() else None
    edge_index, _ = neighbor_list(torch.from_numpy(atoms.positions), cutoff,
                                  cell=cell, pbc=torch.from_numpy(atoms.pbc))
    return sorted({*range(len(atoms))} - {*edge_index[1].tolist()})


def random_generator(seed: int, atoms: Any) -> numpy.random.Generator:
    r"""Returns the random numbers of a simulation. They follow from where it
    starts, too: a simulation that begins where another one of the same seed
    ended would have the same kicks of the heat bath again, which add up.
    """
    start = fingerprint([{
        'pos': torch.from_numpy(atoms.positions),
        'momenta': torch.from_numpy(atoms.get_momenta())}])
    return numpy.random.default_rng([seed, int(start, 16)])


def _structure_of(checkpoint: PathLike) -> Any:
    r"""Returns the structure that a training run left in its checkpoint, the
    first frame of its data. Data that a checkpoint names are not opened.
    """
    path = find_checkpoint(checkpoint)
    with errors_name(path):
        tensors, description = load_checkpoint(path)
        check_kind(description, 'potential')
        return _build_structure(path, tensors, description)


def _build_structure(path: str, tensors: dict[str, torch.Tensor],
                     description: dict[str, Any]) -> Any:
    import ase
    found = {key: tensors[f'structure.{key}'] for key in STRUCTURE
             if f'structure.{key}' in tensors}
    if not {'z', 'pos'} <= found.keys():
        raise ValueError("'structure' must be given, as the checkpoint holds "
                         "none (got None)")
    length, _ = check_units(description['units'])
    # With the checks of any other frame:
    data = Frames(**found, num_atoms=found['z'].numel(), energy=[0.0], name='',
                  units=description['units'],
                  source=f"'{path}': 'structure'")[0]
    cell = {}
    if 'cell' in data:
        cell = {'cell': data.cell[0].numpy() * length,
                'pbc': data.pbc[0].numpy()}
    return ase.Atoms(data.z.numpy(), data.pos.numpy() * length, **cell)
