r"""Labels of structures, and of frames of short dynamics from them.

This file is run on its own by the processes that :func:`label` starts. It
imports nothing of this package, since importing PyTorch takes seconds.
"""

import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

TIMESTEP = 1.0  # fs: frames need not be samples of an exact distribution
FRICTION = 0.05  # 1/fs
MAX_FORCE = 50.0  # eV/Angstrom

INPUTS = ('z', 'pos', 'num_atoms', 'cell', 'pbc', 'charge', 'spin',
          'temperature', 'num_steps', 'interval', 'number')
ARRAYS = ('z', 'pos', 'num_atoms', 'energy', 'force', 'start', 'stress',
          'failures', 'version')


def run(inputs: dict[str, np.ndarray], calculator: str, seed: int,
        report: Callable[[], None]) -> dict[str, np.ndarray]:
    r"""Labels structures. What fails is left out and counted: a calculation
    that raises an error, numbers that are not finite, and forces above 50
    eV/Angstrom, where the dynamics ends.

    Args:
        inputs (dict): The structures, one after the other, as
            :meth:`torch_sake.sampling.labeling.inputs_of` has them.
        calculator (str): :obj:`"xtb"` or an import path.
        seed (int): The seed of velocities and thermostats.
        report (callable): Called after each frame.
    """
    found: dict[str, list] = {key: [] for key in ARRAYS}
    failures: Counter[str] = Counter()
    build, version = _find(calculator)
    stop = np.cumsum(inputs['num_atoms'])
    for i, last in enumerate(stop):
        rows = slice(last - inputs['num_atoms'][i], last)
        start = {key: value[rows] if key in ('z', 'pos') else value[i]
                 for key, value in inputs.items()}
        try:
            for frame in _frames(start, build, seed):
                found['start'].append(i)
                for key, value in frame.items():
                    found[key].append(value)
                report()
        except Exception as error:  # whatever a calculator raises
            failures[_in_words(error)] += 1
    joined = {key: np.concatenate(found[key]) if found[key] else
              np.zeros((0, 3)) for key in ('pos', 'force')}
    joined['z'] = np.concatenate([np.zeros(0, np.int64), *found['z']])
    return {**joined, 'num_atoms': np.array([len(z) for z in found['z']], int),
            'energy': np.array(found['energy'], float),
            'start': np.array(found['start'], int),
            'stress': np.array(found['stress'], float).reshape(-1, 3, 3),
            'failures': np.array(json.dumps(failures)),
            'version': np.array(version)}


class Unusable(Exception):
    r"""A calculation has ended, but not well."""


def _frames(start: dict[str, Any], build: Callable,
            seed: int) -> Iterator[dict[str, np.ndarray]]:
    from ase import Atoms, units
    from ase.md.langevin import Langevin

    atoms = Atoms(start['z'], start['pos'], cell=start['cell'],
                  pbc=start['pbc'])
    atoms.calc = build(int(start['charge']), int(start['spin']))
    num_steps, interval = int(start['num_steps']), int(start['interval'])
    if num_steps == 0:
        yield _labels(atoms)
        return
    rng = np.random.default_rng(np.random.SeedSequence(
        seed, spawn_key=(int(start['number']), )))
    temperature = float(start['temperature'])
    momenta = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * momenta[:, None])
    dynamics = Langevin(atoms, TIMESTEP * units.fs, fixcm=False, rng=rng,
                        temperature_K=temperature,
                        friction=FRICTION / units.fs)
    for _ in range(num_steps // interval):
        dynamics.run(interval)
        yield _labels(atoms)


def _labels(atoms: Any) -> dict[str, np.ndarray]:
    energy, force = atoms.get_potential_energy(), atoms.get_forces()
    stress = np.full((3, 3), np.nan)
    if atoms.pbc.all():
        try:
            stress = atoms.get_stress(voigt=False)
        except NotImplementedError:  # a calculator without stresses
            pass
    if not (np.isfinite(energy) and np.isfinite(force).all()):
        raise Unusable('an energy or force that is not finite')
    if np.linalg.norm(force, axis=1).max() > MAX_FORCE:
        raise Unusable(f'a force above {MAX_FORCE:g} eV/Angstrom')
    pos = atoms.positions.copy()
    if not atoms.pbc.any():
        pos -= atoms.get_center_of_mass()
    return {'z': atoms.numbers, 'pos': pos, 'energy': energy, 'force': force,
            'stress': stress}


def _find(calculator: str) -> tuple[Callable, str]:
    r"""Returns a function of charge and multiplicity that builds the
    calculator, and the version of its package.
    """
    if calculator == 'xtb':
        from tblite.ase import TBLite
        from tblite.library import get_version
        return lambda charge, spin: TBLite(
            method='GFN2-xTB', verbosity=0, charge=charge,
            multiplicity=spin), '.'.join(map(str, get_version()))
    name, _, attribute = calculator.partition(':')
    module = importlib.import_module(name)
    made = getattr(module, attribute)()  # once: some take long to build
    package = sys.modules[name.partition('.')[0]]
    return lambda charge, spin: made, str(getattr(package, '__version__', ''))


def _in_words(error: Exception) -> str:
    if isinstance(error, Unusable):
        return str(error)
    lines = str(error).strip().splitlines()
    return (f'{type(error).__name__}: {lines[0].strip()}' if lines else
            type(error).__name__)[:120]


def main() -> None:
    r"""Labels the structures of a file that the last but one argument of the
    process names, and writes the frames to the :obj:`.npz` file given in the
    last.
    """
    parent = os.getppid()

    def report() -> None:
        if os.getppid() != parent:
            sys.exit('The calling process has ended')
        print('.', end='', flush=True)

    request = json.loads(sys.argv[-2])
    with np.load(request['path'], allow_pickle=False) as file:
        inputs = {key: file[key] for key in INPUTS}
    try:
        arrays = run(inputs, request['calculator'], request['seed'], report)
    except KeyboardInterrupt:
        sys.exit('interrupted')
    np.savez(sys.argv[-1], **arrays)


if __name__ == '__main__':
    main()
