import os.path as osp
from typing import Any

import numpy

from torch_sake.datasets.frames import Frames
from torch_sake.files import PathLike

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def read_frames(path: PathLike) -> Frames:
    r"""Reads structures with energies and, if there are any, forces and
    stresses from any file that :meth:`ase.io.read` understands, such as
    extended XYZ.

    Energies are in eV and positions in Angstrom, the units of ASE. Forces are
    those of the energy, whatever constraints the file holds; either all frames
    have them or none has. Frames may be periodic, and some of them may have a
    stress.

    Args:
        path (str or os.PathLike): The file.

    Raises:
        ImportError: If ASE is missing.
        ValueError: If the file is missing, cannot be read, holds a frame
            without energy or a periodic one whose cell spans no volume, or if
            some frames have forces and others have none, or none under that
            name.
    """
    try:
        import ase.io
    except ImportError as error:
        raise ImportError("Reading structures needs ASE: "
                          "pip install 'torch-sake[train]'") from error

    path = osp.expanduser(path)
    if not osp.isfile(path):
        raise ValueError(f"There is no file '{path}'")

    z, pos, energy, force, cell, pbc, stress = [], [], [], [], [], [], []
    frames = ase.io.iread(path, ':')
    while True:
        where = f"'{path}', frame {len(z)}"
        # The readers of ASE raise whatever a line of their format leads to.
        try:
            atoms = next(frames, None)
        except Exception as error:
            raise ValueError(f"{where}: The file cannot be read by ASE "
                             f"({type(error).__name__}: {error})") from error
        if atoms is None:
            break
        results = {} if atoms.calc is None else atoms.calc.results
        if results.get('energy') is None:
            present = sorted({*results, *atoms.info, *atoms.arrays})
            raise ValueError(f"{where}: There is no 'energy' "
                             f"(it has {present})")
        z.append(atoms.numbers)
        pos.append(atoms.positions)
        energy.append(results['energy'])
        force.append(results.get('forces'))
        cell.append(atoms.cell.array)
        pbc.append(atoms.pbc)
        stress.append(atoms.get_stress(voigt=False) if 'stress' in results
                      else numpy.full((3, 3), numpy.nan))
        if force[-1] is None:
            _check_no_other_forces(atoms, where)

    if all(rows is None for rows in force):
        force = None
    cells = {}
    if any(directions.any() for directions in pbc):
        cells = {'cell': numpy.stack(cell), 'pbc': numpy.stack(pbc)}
        if not all(numpy.isnan(matrix).any() for matrix in stress):
            cells['stress'] = numpy.stack(stress)
    return Frames(z, pos, energy, force, **cells, units=UNITS, source=path,
                  name=osp.splitext(osp.basename(path))[0])


def _check_no_other_forces(atoms: Any, where: str) -> None:
    # Forces under a name that ASE does not know would be lost without a word.
    names = [name for name in atoms.arrays if 'force' in name.lower()]
    if names:
        raise ValueError(f"{where}: Forces must be called 'forces' "
                         f"(got {names})")
