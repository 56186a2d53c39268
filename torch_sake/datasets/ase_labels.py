from typing import Any, Dict, List, Optional

import numpy

# The virial is minus the stress times the volume, in eV:
VIRIALS = ('virial', 'virials', 'REF_virial', 'REF_virials')
# What other names of a stress end with:
ENDINGS = ('stress', 'virial', 'virials')


def energy_of(atoms: Any, where: str) -> Any:
    r"""Returns the energy of a structure of ASE.

    Args:
        atoms (ase.Atoms): The structure.
        where (str): File and frame, for errors.

    Raises:
        ValueError: If there is none, or two that differ.
    """
    energy = _label(atoms, 'energy', where)
    if energy is None:
        results = () if atoms.calc is None else atoms.calc.results
        raise ValueError(f"{where}: There is no 'energy' (it has "
                         f"{sorted({*results, *atoms.info, *atoms.arrays})})")
    return energy


def forces_of(atoms: Any, where: str) -> Optional[numpy.ndarray]:
    r"""Returns the forces of a structure of ASE, or :obj:`None` if it has
    none, without what constraints would make of them.

    Args:
        atoms (ase.Atoms): The structure.
        where (str): File and frame, for errors.

    Raises:
        ValueError: If there are two that differ, or some under another name
            alone.
    """
    forces = _label(atoms, 'forces', where)
    if forces is None:
        _check_no_other_name(
            'forces', [name for name in atoms.arrays
                       if 'force' in name.lower()], where)
    return forces


def stress_of(atoms: Any, where: str) -> numpy.ndarray:
    r"""Returns the stress of a structure of ASE, or that of its virial, or NaN
    if it has neither.

    Args:
        atoms (ase.Atoms): The structure.
        where (str): File and frame, for errors.

    Shapes:
        - **output:** stress :math:`[3, 3]`

    Raises:
        ValueError: If there are several that do not agree, or none under that
            name, or one of another shape, or a virial without a volume.
    """
    found = {name: _matrix(name, value, where)
             for name, value in _named(atoms, 'stress').items()}
    for name in VIRIALS:
        if name not in atoms.info or not atoms.pbc.any():
            continue
        if atoms.cell.rank < 3:
            raise ValueError(f"{where}: '{name}' needs a cell with a volume "
                             f"(got {atoms.cell.tolist()})")
        found[name] = -_matrix(name, atoms.info[name],
                               where) / atoms.cell.volume
    if not found and atoms.pbc.any():
        _check_no_other_name(
            'stress', [name for name, value in atoms.info.items()
                       if name.lower().endswith(ENDINGS)
                       and numpy.size(value) in (6, 9)], where)
    stress = next(iter(found.values()), numpy.full((3, 3), numpy.nan))
    for value in found.values():  # in files with eight digits or so
        if numpy.abs(value - stress).max() > 1e-5 + 1e-3 * numpy.abs(
                stress).max():
            raise ValueError(f"{where}: {list(found)} must agree with each "
                             f"other")
    return stress


def _named(atoms: Any, name: str) -> Dict[str, Any]:
    # ASE takes what has its names for results of a calculator. References
    # that must be kept apart from those have a prefix.
    results = {} if atoms.calc is None else atoms.calc.results
    found = {name: results.get(name),
             f'REF_{name}': {**atoms.info, **atoms.arrays}.get(f'REF_{name}')}
    return {key: value for key, value in found.items() if value is not None}


def _label(atoms: Any, name: str, where: str) -> Optional[Any]:
    found = _named(atoms, name)
    if len(found) == 2 and not numpy.array_equal(*found.values()):
        raise ValueError(f"{where}: '{name}' and 'REF_{name}' must be the "
                         f"same where a frame has both")
    return next(iter(found.values()), None)


def _matrix(name: str, value: Any, where: str) -> numpy.ndarray:
    from ase.stress import voigt_6_to_full_3x3_stress
    array = numpy.asarray(value)
    if array.dtype.kind not in 'if' or array.size not in (6, 9):
        raise ValueError(f"{where}: '{name}' must have nine numbers, or the "
                         f"six of Voigt (got {value!r})")
    return (array.reshape(3, 3) if array.size == 9 else
            voigt_6_to_full_3x3_stress(array.flatten()))


def _check_no_other_name(expected: str, names: List[str], where: str) -> None:
    # What has a name that is not known would be lost without a word.
    if names:
        raise ValueError(f"{where}: The {expected} must be called "
                         f"'{expected}' or 'REF_{expected}' (got {names})")
