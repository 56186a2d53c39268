import warnings
from typing import Any

import numpy
import torch

from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets.frames.ase_structures import (
    NoStructure,
    ase_structure,
)
from torch_sake.datasets.frames.charges import (
    CHARGES,
    SPINS,
    State,
    state_of,
)
from torch_sake.datasets.frames.frame_arrays import (
    Source,
    check_cells,
    check_values,
)
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.initial_charges import (
    describe_unsaid,
    unsaid_charge,
)
from torch_sake.datasets.frames.labeled_frames import STRUCTURE
from torch_sake.datasets.frames.to_ase import to_atoms
from torch_sake.potentials.description import check_kind
from torch_sake.utils.bounds import MAX_LABEL
from torch_sake.utils.files import replace_when_complete
from torch_sake.utils.inputs import find_checkpoint, find_structure
from torch_sake.utils.messages import errors_name
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import check_units

# What a structure consists of, beside its cell and constraints:
ARRAYS = {'numbers', 'positions', 'momenta', 'masses', 'tags'}


def read_structure(path: PathLike | None, checkpoint: PathLike,
                   charge: int | None = None, spin: int | None = None) -> Any:
    r"""Returns a structure as :class:`ase.Atoms`, with its total charge and
    its multiplicity in :obj:`info`, if they are known.

    Args:
        path (str or os.PathLike or None): A file that ASE reads;
            :obj:`'file@3'` is its fourth structure, if there is no file of
            just this name; without a number it is the last one. If
            :obj:`None`, it is the structure in the checkpoint.
        checkpoint (str or os.PathLike): The checkpoint.
        charge, spin (int, optional): The total charge and the multiplicity,
            in the place of those of the file. (default: :obj:`None`)

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
        return _with_state(_structure_of(checkpoint), charge, spin)
    name, index = find_structure(path)
    try:
        atoms = ase_structure(name, index)
    except NoStructure:
        raise ValueError(f"'structure' must be one that the file has "
                         f"(got '{path}')") from None
    _check_structure(atoms, name, index)
    unsaid = 0 if charge is not None else unsaid_charge(atoms)
    if unsaid:  # they do not stay
        warnings.warn(describe_unsaid(f"'{name}', frame {index}", unsaid))
    return _with_state(_without_labels(atoms), charge, spin)


def write_structure(path: PathLike, atoms: Any) -> None:
    r"""Writes a structure to a file of extended XYZ."""
    import ase.io
    with replace_when_complete(path) as temporary:
        ase.io.write(temporary, atoms, format='extxyz')


def check_periodic(atoms: Any, rule: str) -> None:
    r"""Raises an error, with what must not be asked for, if a structure is not
    periodic in all directions.
    """
    require(atoms.pbc.all(),
            f"{rule} for a structure that is not periodic in all directions "
            f"(got pbc={atoms.pbc.tolist()})")


def _check_structure(atoms: Any, name: str, index: int) -> None:
    r"""Checks the numbers of a structure as those of frames of data."""
    source = Source(f"'{name}'", index)
    require(len(atoms) > 0, f"{source.frame(0)}: 'structure' must have atoms")
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
    atoms.info = {name: value for name, value in atoms.info.items()
                  if name in (*CHARGES, *SPINS)}
    for name in atoms.arrays.keys() - ARRAYS:
        del atoms.arrays[name]
    return atoms


def _with_state(atoms: Any, charge: int | None, spin: int | None) -> Any:
    r"""Returns the structure with another charge and spin, if given."""
    for names, value in ((CHARGES, charge), (SPINS, spin)):
        if value is not None:
            for name in names:
                atoms.info.pop(name, None)
            atoms.info[names[0]] = value
    return atoms


def identity_of(atoms: Any) -> dict[str, Any]:
    r"""Returns what of a structure stays as it is in a simulation: atomic
    numbers, periodic directions, masses, and constraints, charge and spin as
    text.
    """
    from ase.io.jsonio import encode
    return {
        'numbers': atoms.numbers,
        'pbc': atoms.pbc,
        'masses': atoms.get_masses(),
        'constraints': encode([constraint.todict()
                               for constraint in atoms.constraints]),
        'charge_and_spin': encode({
            name: str(atoms.info[name]) for name in sorted(atoms.info)}),
    }


def _structure_of(checkpoint: PathLike) -> Any:
    r"""Returns the structure that a training run left in its checkpoint, the
    first frame of its data. Data that a checkpoint names are not opened.
    """
    path = find_checkpoint(checkpoint)
    with errors_name(path):
        tensors, description = load_checkpoint(path)
        check_kind(description, 'potential')
        found = {key: tensors[f'structure.{key}'] for key in STRUCTURE
                 if f'structure.{key}' in tensors}
        require({'z', 'pos'} <= found.keys(),
                "'structure' must be given, as the checkpoint holds none (got "
                "None)")
        length, _ = check_units(description['units'])
        # With the checks of any other frame:
        data = Frames(**found, num_atoms=found['z'].numel(), energy=[0.0],
                      name='', units=description['units'],
                      source=f"'{path}': 'structure'")[0]
        atoms = to_atoms(data, length)
        said = {name: tensors[f'structure.{name}'] for name in State._fields
                if f'structure.{name}' in tensors}
        state = state_of(said, "'structure'")
        return _with_state(atoms, *state)
