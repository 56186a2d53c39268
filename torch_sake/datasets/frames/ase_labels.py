from typing import Any

import numpy

from torch_sake.utils.messages import in_words

# The virial is minus the stress times the volume, in eV:
VIRIALS = ('virial', 'virials', 'REF_virial', 'REF_virials')
# What other names of a stress end with:
ENDINGS = ('stress', 'virial', 'virials')


def labels_of(atoms: Any, where: str) -> dict[str, Any]:
    r"""Returns the labels of an :class:`ase.Atoms` by the names of
    :class:`~torch_sake.datasets.Frames`: the energy, forces without what
    constraints would make of them, or :obj:`None`, and the stress or that of
    the virial, or NaN. Messages begin with :obj:`where`.

    Raises:
        ValueError: If there is no energy, a label is of a wrong size or no
            real number, there are several that do not agree, or forces or a
            stress under another name alone, if a stress is not symmetric, or a
            virial has no volume.
    """
    energy, forces = (_label(atoms, name, where)
                      for name in ('energy', 'forces'))
    if energy is None:
        results = () if atoms.calc is None else atoms.calc.results
        raise ValueError(f"{where}: There is no 'energy' (it has "
                         f"{sorted({*results, *atoms.info, *atoms.arrays})})")
    if energy.size != 1:
        raise ValueError(f"{where}: 'energy' must be one number "
                         f"(got {in_words(energy)})")
    if forces is None:
        _check_no_other_name('forces', [
            name for name in atoms.arrays if 'force' in name.lower()], where)
    return {'energy': float(energy.item()), 'force': forces,
            'stress': _stress(atoms, where)}


def _stress(atoms: Any, where: str) -> numpy.ndarray:
    found = {name: _matrix(name, value, where, 1.0)
             for name, value in _named(atoms, 'stress').items()}
    for name in VIRIALS:
        if name not in atoms.info or not atoms.pbc.any():
            continue
        if atoms.cell.rank < 3:
            raise ValueError(f"{where}: '{name}' needs a cell with a volume "
                             f"(got {atoms.cell.tolist()})")
        volume = atoms.cell.volume
        found[name] = -_matrix(name, atoms.info[name], where, volume) / volume
    if not found and atoms.pbc.any():
        _check_no_other_name(
            'stress', [name for name, value in atoms.info.items()
                       if name.lower().endswith(ENDINGS)
                       and numpy.size(value) in (6, 9)], where)
    stress = next(iter(found.values()), numpy.full((3, 3), numpy.nan))
    for value in found.values():
        if not agree(value, stress):
            raise ValueError(f"{where}: {list(found)} must agree with each "
                             f"other")
    return stress


def _named(atoms: Any, name: str) -> dict[str, Any]:
    # ASE takes what has its names for results of a calculator. References
    # that must be kept apart from those have a prefix.
    results = {} if atoms.calc is None else atoms.calc.results
    found = {name: results.get(name),
             f'REF_{name}': {**atoms.info, **atoms.arrays}.get(f'REF_{name}')}
    return {key: value for key, value in found.items() if value is not None}


def _label(atoms: Any, name: str, where: str) -> numpy.ndarray | None:
    found = {key: real_numbers(key, value, where)
             for key, value in _named(atoms, name).items()}
    if len(found) == 2 and not numpy.array_equal(*found.values()):
        raise ValueError(f"{where}: '{name}' and 'REF_{name}' must be the "
                         f"same where a frame has both")
    return next(iter(found.values()), None)


def real_numbers(name: str, value: Any, where: str) -> numpy.ndarray:
    r"""Returns real numbers as an array, or raises an error if they are
    Boolean, complex, text or none at all.
    """
    try:
        array = numpy.asarray(value)
    except ValueError:  # rows of different lengths
        array = numpy.array(None)
    if array.dtype.kind not in 'iuf':
        raise ValueError(f"{where}: '{name}' must be of real numbers "
                         f"(got {in_words(value)})")
    return array


def _matrix(name: str, value: Any, where: str,
            volume: float) -> numpy.ndarray:
    from ase.stress import voigt_6_to_full_3x3_stress
    array = real_numbers(name, value, where)
    if array.size not in (6, 9):
        raise ValueError(f"{where}: '{name}' must have nine numbers, or the "
                         f"six of Voigt (got {in_words(value)})")
    matrix = (array.reshape(3, 3) if array.size == 9 else
              voigt_6_to_full_3x3_stress(array.flatten()))
    if not is_symmetric(matrix / volume):
        raise ValueError(f"{where}: '{name}' must be symmetric "
                         f"(got {in_words(value)})")
    return matrix


def is_symmetric(stress: numpy.ndarray) -> bool:
    r"""Whether a matrix differs from its transpose by rounding alone."""
    return agree(stress, stress.T)


def agree(stress: numpy.ndarray, other: numpy.ndarray) -> bool:
    r"""Whether two stresses in eV/Angstrom^3 are the same, as files of few
    digits and sums over grids have them: within a thousandth of the largest
    entry, or 1.6 MPa. Those that are not finite are none of its business.
    """
    difference = numpy.abs(stress - other)
    return not difference.max() > 1e-5 + 1e-3 * numpy.abs(stress).max()


def _check_no_other_name(expected: str, names: list[str], where: str) -> None:
    # What has a name that is not known would be lost without a word.
    if names:
        raise ValueError(f"{where}: The {expected} must be called "
                         f"'{expected}' or 'REF_{expected}' (got {names})")
