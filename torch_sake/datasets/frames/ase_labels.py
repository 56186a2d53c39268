r"""Labels of :class:`ase.Atoms`."""

from typing import Any

import numpy

from torch_sake.datasets.frames.label_keys import (
    FREE_ENERGY,
    LabelKeys,
    is_gradient,
)
from torch_sake.utils.messages import in_words

# The structure among the arrays:
STRUCTURE = ('numbers', 'positions')
LONGEST_INFO = 1000  # characters of a text that is kept


class Entries:
    r"""What a frame says of itself, of its atoms and of results of a
    calculator, by name. Results are what ASE takes for some by its name.

    Args:
        atoms (ase.Atoms): The frame.
        where (str): What messages call it.
    """
    def __init__(self, atoms: Any, where: str):
        self.where = where
        self.atoms = atoms
        results = {} if atoms.calc is None else atoms.calc.results
        self.results = {name: value for name, value in results.items()
                        if value is not None}
        self.info = {name: value for name, value in atoms.info.items()
                     if value is not None}
        arrays = {name: value for name, value in atoms.arrays.items()
                  if name not in STRUCTURE}
        self.per_frame = {**self.info, **self.results}
        self.all = {**arrays, **self.per_frame}
        self.places = (self.results, self.info, arrays)

    def find(self, name: str) -> list[Any]:
        r"""Returns all values of this name."""
        return [place[name] for place in self.places if name in place]


def labels_of(entries: Entries, keys: LabelKeys) -> tuple[
        dict[str, Any], dict[str, list[str]]]:
    r"""Returns the labels of a frame by the names of
    :class:`~torch_sake.datasets.Frames`: the energy, the forces without what
    constraints would make of them, and the stress or that of the virial, each
    :obj:`None` if there is none (a stress: NaN), and the names that each label
    was found under.

    Raises:
        ValueError: If a label is of a wrong shape or no real number, there are
            several that do not agree, a stress is not symmetric, or a virial
            has no volume.
    """
    names: dict[str, list[str]] = {}
    energy = _label(entries, names, 'energy', keys.names('energy'), ())
    if energy is None and keys.energy_key is None:
        energy = _label(entries, names, 'energy', (FREE_ENERGY, ), ())
    force = _label(entries, names, 'forces', keys.names('forces'),
                   (len(entries.atoms), 3))
    if force is not None and is_gradient(names['forces'][0]):
        force = -force
    return {'energy': None if energy is None else float(energy),
            'force': force, 'stress': _stress(entries, names, keys)}, names


def _label(entries: Entries, names: dict[str, list[str]], label: str,
           of_label: tuple[str, ...],
           shape: tuple[int, ...]) -> numpy.ndarray | None:
    found = [(name, _shaped(entries, name, value, shape))
             for name in of_label for value in entries.find(name)]
    if not found:
        return None
    names[label] = [name for name, _ in found]
    first = found[0][1]
    for _, value in found[1:]:
        if not numpy.array_equal(first, value):
            values = ' and '.join(in_words(one) for _, one in found)
            raise ValueError(
                f"{entries.where}: {_list(names[label])} must be the same "
                f"where a frame has both (got {values}; '{label}_key' chooses "
                f"one)")
    return first


def _list(names: list[str]) -> str:
    if len(set(names)) == 1:  # in two places
        return f"'{names[0]}' of the frame and of its calculator"
    return ' and '.join(f"'{name}'" for name in dict.fromkeys(names))


def _shaped(entries: Entries, name: str, value: Any,
            shape: tuple[int, ...]) -> numpy.ndarray:
    array = real_numbers(name, value, entries.where)
    if shape == () and array.size == 1:
        return array.reshape(())
    if array.shape != shape:
        expected = 'one number' if shape == () else f'of shape {list(shape)}'
        got = in_words(value) if shape == () else f'shape {list(array.shape)}'
        raise ValueError(f"{entries.where}: '{name}' must be {expected} "
                         f"(got {got})")
    return array


def _stress(entries: Entries, names: dict[str, list[str]],
            keys: LabelKeys) -> numpy.ndarray:
    atoms, where = entries.atoms, entries.where
    found = [(name, _matrix(name, value, where, 1.0))
             for name in keys.names('stress') for value in entries.find(name)]
    for name in keys.names('virial'):
        for value in entries.find(name):
            if not atoms.pbc.any():
                continue
            if atoms.cell.rank < 3:
                raise ValueError(f"{where}: '{name}' needs a cell with a "
                                 f"volume (got {atoms.cell.tolist()})")
            volume = atoms.cell.volume
            found.append((name, -_matrix(name, value, where, volume) / volume))
    if not found:
        return numpy.full((3, 3), numpy.nan)
    names['stress'] = [name for name, _ in found]
    stress = found[0][1]
    for _, value in found[1:]:
        if not agree(value, stress):
            values = ' and '.join(in_words(one) for _, one in found)
            raise ValueError(f"{where}: {names['stress']} must agree with "
                             f"each other (got stresses {values}; "
                             f"'stress_key' or 'virial_key' chooses one)")
    return stress


def infos_of(entries: Entries, names: dict[str, list[str]]) -> dict[str, Any]:
    r"""Returns the numbers and texts that a frame has beside its labels, as
    far as the texts are short.
    """
    used = {name for found in names.values() for name in found}
    infos = {}
    for name, value in entries.info.items():
        if isinstance(value, numpy.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, numpy.generic):
            value = value.item()
        if isinstance(value, str) and len(value) > LONGEST_INFO:
            continue
        if (isinstance(name, str) and name not in used
                and isinstance(value, (str, int, float))):
            infos[name] = value
    return infos


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
    # Some of a database must not be written to.
    return array if array.flags.writeable else array.copy()


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
