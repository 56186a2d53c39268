import hashlib
import json
import os
import os.path as osp
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.generated import (
    Arrays,
    read_computed,
    save_computed,
)
from torch_sake.datasets.processes import Job, run_jobs
from torch_sake.sampling import walker
from torch_sake.sampling.calculator import (
    check_calculator,
    places_of,
    title_of,
    version_of,
)
from torch_sake.sampling.structure import Structure
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.plain_checks import (
    check_positive_int,
    check_seed,
    require,
)
from torch_sake.utils.units import ASE_UNITS

PART = 2000  # calculations of a part, about: seconds of a small molecule


def label(structures: Sequence[Structure], calculator: str = 'xtb', *,
          folder: PathLike, seed: int = 0,
          num_processes: int | None = None) -> Frames:
    r"""Returns labeled frames of structures, and of short Langevin dynamics
    (step 1 fs, friction 0.05 / fs) of those that ask for one.

    Parts of a few hundred structures run in parallel processes and are kept in
    the folder. An interrupted call goes on from there, and a second one with
    the same version of the calculator reads them. What is computed depends
    neither on the number of processes nor on the other structures.
    Calculations that fail are left out, with one line that counts them: those
    that raise an error, and forces above 50 eV/Angstrom. Energies are in eV,
    positions in Angstrom. Frames have
    :obj:`info(index)['config_type']` and the charge and multiplicity of
    structures that have some.

    Args:
        structures (list of Structure): The structures.
        calculator (str, optional): See :func:`check_calculator`.
            (default: :obj:`"xtb"`)
        folder (str or os.PathLike): Where parts are kept.
        seed (int, optional): Seed of velocities and thermostats.
            (default: :obj:`0`)
        num_processes (int, optional): The number of processes at once, that of
            the processors if not given. (default: :obj:`None`)

    Raises:
        ImportError, TypeError, ValueError: If an argument cannot be used, see
            :func:`check_calculator`.
        RuntimeError: If nothing can be labeled.
    """
    require(len(structures) > 0, "'structures' must not be empty")
    seed = check_seed('seed', seed)
    if num_processes is not None:
        check_positive_int('num_processes', num_processes)
    check_calculator(calculator, elements_of(structures),
                     {(one.charge, one.spin) for one in structures})
    _check_states(structures)
    folder = local_path('folder', folder)
    os.makedirs(folder, exist_ok=True)
    parts, version = {}, version_of(calculator)
    for first, last in _parts(structures):
        inputs = inputs_of(structures[first:last], first)
        about = {'calculator': calculator, **version, 'seed': seed,
                 'digest': _digest(inputs), 'timestep': walker.TIMESTEP,
                 'friction': walker.FRICTION, 'max_force': walker.MAX_FORCE}
        name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        parts[osp.join(folder, f'{name}.npz')] = first, last, inputs, about
    with hold_folder(folder):
        _compute({path: part for path, part in parts.items()
                  if not osp.exists(path)}, calculator, seed, num_processes)
    results = [read_computed(path, about, walker.ARRAYS)
               for path, (_, _, _, about) in parts.items()]
    if not any(len(result['energy']) for result in results):
        for path in parts:  # what is missing may be there the next time
            os.remove(path)
    _say_failures(results, calculator)
    starts = [structures[first + int(start)]
              for result, (first, *_) in zip(results, parts.values())
              for start in result['start']]
    return _join(results, starts, calculator)


def inputs_of(structures: Sequence[Structure],
              first: int = 0) -> dict[str, np.ndarray]:
    r"""Returns structures as arrays, one after the other.

    Args:
        structures (list of Structure): The structures.
        first (int, optional): The number of the first one, which the seeds of
            its dynamics follow from. (default: :obj:`0`)
    """
    none = np.zeros((3, 3)), np.zeros(3, bool)
    return {
        'z': np.concatenate([one.z for one in structures]),
        'pos': np.concatenate([one.pos for one in structures]),
        'num_atoms': np.array([len(one.z) for one in structures]),
        'cell': np.stack([none[0] if one.cell is None else one.cell
                          for one in structures]),
        'pbc': np.stack([none[1] if one.pbc is None else one.pbc
                         for one in structures]),
        'charge': np.array([one.charge for one in structures]),
        'spin': np.array([spin_of(one) for one in structures]),
        'temperature': np.array([one.temperature or 0.0
                                 for one in structures], float),
        'num_steps': np.array([one.num_steps for one in structures]),
        'interval': np.array([one.interval for one in structures]),
        'number': np.arange(first, first + len(structures)),
    }


def elements_of(structures: Sequence[Structure]) -> list[int]:
    r"""Returns the atomic numbers that structures have."""
    return sorted({int(z) for one in structures for z in np.unique(one.z)})


def spin_of(structure: Structure) -> int:
    r"""Returns the multiplicity, the lowest one if it is not given."""
    if structure.spin is not None:
        return structure.spin
    return 1 + (int(structure.z.sum()) - structure.charge) % 2


def _check_states(structures: Sequence[Structure]) -> None:
    for index, one in enumerate(structures):
        electrons = int(one.z.sum()) - one.charge
        require(electrons >= 0 and (electrons + 1 - spin_of(one)) % 2 == 0,
                f"'structures' must have a multiplicity of their electrons "
                f"(got {spin_of(one)} for {electrons} electrons in structure "
                f"{index})")


def _parts(structures: Sequence[Structure]) -> Iterator[tuple[int, int]]:
    r"""Yields the first structures of parts, and those behind their last."""
    first, number = 0, 0
    for index, one in enumerate(structures):
        number += one.num_labels
        if number >= PART or index + 1 == len(structures):
            yield first, index + 1
            first, number = index + 1, 0


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key, value in arrays.items():
        digest.update(f'{key}{value.dtype}{value.shape}'.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _compute(parts: dict[str, tuple], calculator: str, seed: int,
             num_processes: int | None) -> None:
    if not parts:
        return
    with tempfile.TemporaryDirectory() as temporary:
        jobs = {}
        for number, (path, (first, last, inputs, _)) in enumerate(
                parts.items()):
            source = osp.join(temporary, f'{number}.npz')
            np.savez(source, **inputs)
            steps, interval = inputs['num_steps'], inputs['interval']
            jobs[path] = Job(
                walker.__file__,
                json.dumps({'path': source, 'calculator': calculator,
                            'seed': seed}),
                walker.ARRAYS,
                int(np.where(steps > 0, steps // interval, 1).sum()),
                f'Structures {first} to {last - 1}', places_of(calculator))
        run_jobs(jobs, lambda path, arrays: save_computed(
            path, parts[path][-1], arrays), title_of(calculator),
            num_processes)


def _say_failures(results: list[Arrays], calculator: str) -> None:
    failures: Counter[str] = Counter()
    for result in results:
        failures.update(json.loads(str(result['failures'])))
    number = sum(len(result['energy']) for result in results)
    why = ', '.join(f'{count} by {what}' for what, count in
                    failures.most_common(3))
    if number == 0:
        raise RuntimeError(f"{title_of(calculator)} labeled none of the "
                           f"structures: {why}")
    if failures:
        print(f"{title_of(calculator)}: {number:,} frames are labeled. "
              f"{sum(failures.values()):,} structures failed, and what "
              f"follows in their dynamics is left out: {why}")


def _join(results: list[Arrays], starts: list[Structure],
          calculator: str) -> Frames:
    arrays: dict[str, Any] = {
        key: np.concatenate([result[key] for result in results])
        for key in ('z', 'pos', 'num_atoms', 'energy', 'force', 'stress')}
    stress = arrays.pop('stress')
    if any(one.cell is not None for one in starts):
        arrays['cell'] = [np.zeros((3, 3)) if one.cell is None else one.cell
                          for one in starts]
        arrays['pbc'] = [np.zeros(3, bool) if one.pbc is None else one.pbc
                         for one in starts]
        if not np.isnan(stress).all():
            arrays['stress'] = stress
    infos = []
    for one in starts:
        info: dict[str, Any] = {'config_type': one.config_type}
        if one.charge != 0 or one.spin is not None:
            info.update(charge=one.charge, spin=spin_of(one))
        infos.append(info)
    return Frames(**arrays, name='grown', units=ASE_UNITS,
                  source=title_of(calculator), infos=infos)
