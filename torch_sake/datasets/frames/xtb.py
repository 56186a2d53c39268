import difflib
import os
import os.path as osp
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np

from torch_sake.datasets.frames.frames import Frames, molecule_frames
from torch_sake.datasets.frames.xtb_process import run_walkers
from torch_sake.datasets.frames.xtb_walker import ARRAYS, Walker
from torch_sake.datasets.generated import (
    Arrays,
    compute_once,
    read_computed,
    save_computed,
)
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.plain_checks import (
    check_positive_float,
    check_positive_int,
    check_seed,
    require,
)
from torch_sake.utils.units import ASE_UNITS

# Common names of molecules that ASE knows by their formulas.
FORMULAS = {
    'acetaldehyde': 'CH3CHO', 'acetamide': 'CH3CONH2',
    'acetic acid': 'CH3COOH', 'acetone': 'CH3COCH3', 'ammonia': 'NH3',
    'benzene': 'C6H6', 'dimethyl ether': 'CH3OCH3',
    'dimethyl sulfoxide': 'C2H6SO', 'ethane': 'C2H6', 'ethanol': 'CH3CH2OH',
    'ethylene': 'C2H4', 'formaldehyde': 'H2CO', 'formic acid': 'HCOOH',
    'furan': 'C4H4O', 'methane': 'CH4', 'methanol': 'CH3OH', 'propane': 'C3H8',
    'pyridine': 'C5H5N', 'pyrrole': 'C4H4NH', 'thiophene': 'C4H4S',
    'water': 'H2O',
}


def xtb_frames(molecule: str = 'ethanol', num_frames: int = 2000,
               temperature: float = 500.0, seed: int = 0,
               root: PathLike | None = None,
               num_walkers: int = 4, *, charge: int | None = None,
               spin: int | None = None) -> Frames:
    r"""Generates frames of a small molecule by molecular dynamics with the
    semi-empirical method GFN2-xTB, or reads them if they exist already.

    Independent walkers start from the relaxed structure with random
    velocities, are equilibrated for 1 ps by Langevin dynamics (step 0.5 fs,
    friction 0.02 / fs) and then record a frame every 20 fs. Walkers run in
    parallel processes of one thread each; what they compute does not depend
    on how many run at once. Each is stored when it is complete, so that an
    interrupted call continues from there. A second call for the same frames
    waits for the first one. Energies are in eV, positions in Angstrom. The
    frames of a walker follow each other in time.

    Args:
        molecule (str, optional): A name of :meth:`ase.build.molecule` or a
            common name such as :obj:`'ethanol'` or :obj:`'benzene'`.
            (default: :obj:`'ethanol'`)
        num_frames (int, optional): Number of frames, of all walkers together.
            (default: :obj:`2000`)
        temperature (float, optional): Temperature in K.
            (default: :obj:`500.0`)
        seed (int, optional): Seed of velocities and thermostat.
            (default: :obj:`0`)
        root (str or os.PathLike, optional): Folder of the generated files, by
            default the environment variable :obj:`TORCH_SAKE_CACHE` or else
            ``~/.cache/torch_sake``. (default: :obj:`None`)
        num_walkers (int, optional): Number of independent trajectories.
            (default: :obj:`4`)
        charge (int, optional): Total charge in units of e; that of ASE's
            molecule, zero, if neither it nor the spin is given. Frames have
            both as :obj:`info(index)['charge']` and :obj:`['spin']` if one of
            them is given. (default: :obj:`None`)
        spin (int, optional): Multiplicity :math:`2 S + 1`; with a charge, the
            lowest that its number of electrons can have if not given.
            (default: :obj:`None`)

    Raises:
        ImportError: If ASE or tblite are missing.
        RuntimeError: If the molecule falls apart or a calculation fails.
        ValueError: If the molecule is unknown, a number is out of range or a
            stored file is damaged.
    """
    formula = _find_formula(molecule)
    temperature = check_positive_float('temperature', temperature)
    check_positive_int('num_frames', num_frames)
    check_positive_int('num_walkers', num_walkers)
    if num_walkers > num_frames:
        raise ValueError(f"'num_walkers' must be at most 'num_frames' = "
                         f"{num_frames} (got {num_walkers})")
    seed = check_seed('seed', seed)
    if (charge, spin) != (None, None):
        charge, spin = _check_state(formula, 0 if charge is None else charge,
                                    spin)

    folder = local_path('root', root or os.environ.get('TORCH_SAKE_CACHE')
                        or osp.join('~', '.cache', 'torch_sake'))
    stem = osp.join(folder, f'gfn2-xtb_{formula}_{temperature:g}K_'
                    f'{num_frames}frames_{num_walkers}walkers_seed{seed}')
    if spin is not None:
        stem += f'_charge{charge}_spin{spin}'
    # The first walkers take one frame more where the number is not divisible.
    walkers = {
        f'{stem}_walker{i}.npz':
        Walker(formula, (num_frames + num_walkers - 1 - i) // num_walkers,
               temperature, seed, i, charge, spin)
        for i in range(num_walkers)
    }
    arrays = compute_once(
        f'{stem}.npz',
        {'walkers': [walker.metadata() for walker in walkers.values()]},
        ARRAYS, lambda: _generate(walkers))
    for part in walkers:
        with suppress(FileNotFoundError):
            os.remove(part)
    return molecule_frames(arrays['z'], arrays['pos'], arrays['energy'],
                           arrays['force'], name=molecule, units=ASE_UNITS,
                           source=f'xtb:{molecule}',
                           infos=None if spin is None else num_frames * [
                               {'charge': charge, 'spin': spin}])


def _generate(walkers: dict[str, Walker]) -> Arrays:
    r"""Returns the arrays of all walkers. Each is stored when it is complete.
    """
    missing = {part: walker for part, walker in walkers.items()
               if not osp.exists(part)}
    run_walkers(missing, save=lambda part, arrays: save_computed(
        part, walkers[part].metadata(), arrays))
    parts = [read_computed(part, walker.metadata(), ARRAYS)
             for part, walker in walkers.items()]
    return {**parts[0], **{key: np.concatenate([part[key] for part in parts])
                           for key in ('pos', 'energy', 'force')}}


def _check_state(formula: str, charge: Any,
                 spin: Any) -> tuple[int, int]:
    r"""Returns charge and multiplicity, the lowest one if it is not given."""
    from ase.build import molecule as build
    if isinstance(charge, bool) or not isinstance(charge, Integral):
        raise TypeError(f"'charge' must be an integer (got {charge!r})")
    electrons = int(build(formula).numbers.sum()) - int(charge)
    require(electrons > 0, f"'charge' must leave electrons (got {charge})")
    if spin is None:
        spin = 1 + electrons % 2
    spin = check_positive_int('spin', spin)
    require((electrons + 1 - spin) % 2 == 0,
            f"'spin' must be a multiplicity of {electrons} electrons "
            f"(got {spin})")
    return int(charge), spin


def _find_formula(molecule: str) -> str:
    try:
        from ase.build import molecule as build
        from ase.collections import g2
    except ImportError as error:
        raise ImportError("Generating frames needs ASE: "
                          "pip install 'torch-sake[train]'") from error

    formula = FORMULAS.get(molecule, molecule)
    if formula not in g2.names:
        names = [*FORMULAS, *g2.names]
        close = difflib.get_close_matches(molecule, names, n=5)
        raise ValueError(
            f"'molecule' must be one of {sorted(FORMULAS)} or a name of "
            f"ase.build.molecule (got {molecule!r}"
            + (f", did you mean one of {close}?)" if close else ')'))
    if len(build(formula)) < 2:
        raise ValueError(f"'molecule' must have more than one atom "
                         f"(got {molecule!r})")
    return formula
