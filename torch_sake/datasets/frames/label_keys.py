r"""What the labels of a file are called, and what might be some."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy

from torch_sake.utils.messages import in_words
from torch_sake.utils.plain_checks import require

NONE = 'none'  # the key of labels that are not to be read
# The virial is minus the stress times the volume.
NAMES = {
    'energy': ('energy', 'REF_energy'),
    'forces': ('forces', 'REF_forces'),
    'stress': ('stress', 'REF_stress'),
    'virial': ('virial', 'virials', 'REF_virial', 'REF_virials'),
}
# Where there is no energy. The forces of ASE are those of the free energy.
FREE_ENERGY = 'free_energy'
# What other names of labels have in them, in lower case, and what other names
# of energies are:
WORDS = {'energy': ('energ', ), 'forces': ('force', 'grad'),
         'stress': ('stress', ), 'virial': ('virial', )}
ENERGIES = {'e', 'e0', 'etot', 'e_tot', 'etotal', 'e_total', 'toten'}
# What has one of these in its name is none, nor are predictions of ours:
OTHERS = ('weight', 'sigma', 'kinetic', 'cutoff', 'error', 'std', 'per_atom',
          'mask')
PREDICTED = 'SAKE_'


@dataclass(frozen=True)
class LabelKeys:
    r"""The names of the labels of a file, as far as they are given. Those of
    :obj:`NAMES` are then ignored. Labels called :obj:`'none'` are not read.
    """
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None

    def __post_init__(self):
        for name, key in self.given():
            if not isinstance(key, str):
                raise TypeError(f"'{name}' must be the name of a label "
                                f"(got {in_words(key)})")
            require(key.strip(), f"'{name}' must be the name of a label "
                                 f"(got {key!r})")
        for name, other in (('stress', 'virial'), ('virial', 'stress')):
            key = (getattr(self, f'{name}_key') or '').lower()
            require(other not in key or name in key,
                    f"'{name}_key' must be a {name}, which has another sign "
                    f"and unit than a {other} (got {key!r}: see "
                    f"'{other}_key')")

    def given(self) -> Iterator[tuple[str, str]]:
        r"""Yields the arguments that are given."""
        for name, key in vars(self).items():
            if key is not None:
                yield name, key

    def names(self, label: str) -> tuple[str, ...]:
        r"""Returns the names of a label."""
        key = getattr(self, f'{label}_key')
        # Whoever says where the stress is says where the virial is not.
        others = {'stress': self.virial_key, 'virial': self.stress_key}
        if key is None:
            return () if others.get(label) else NAMES[label]
        return () if key == NONE else (key, )

    def all_names(self) -> set[str]:
        r"""Returns all names of labels that may be read."""
        return {FREE_ENERGY, *sum(NAMES.values(), ()),
                *filter(None, astuple(self))}


def is_gradient(name: str) -> bool:
    r"""Whether forces of this name are minus the forces."""
    return 'grad' in name.lower() and 'force' not in name.lower()


def warn_of_gradient(path: str, name: str) -> None:
    warnings.warn(f"'{path}': '{name}' is taken for the gradient of the "
                  f"energy, minus the forces")


def find_candidates(label: str, per_frame: Mapping[str, Any],
                    entries: Mapping[str, Any], num_atoms: int) -> list[str]:
    r"""Returns the names of entries of a frame that might be a label of
    another name.

    Args:
        label (str): The label, one of :obj:`NAMES`.
        per_frame (dict): What there is of the frame as a whole.
        entries (dict): That, and what there is of atoms.
        num_atoms (int): The number of atoms.
    """
    return [name for name, value in (
        per_frame if label == 'energy' else entries).items()
        if _may_be(label, name) and has_shape(label, value, num_atoms)]


def _may_be(label: str, name: Any) -> bool:
    if not isinstance(name, str) or name.startswith(PREDICTED):
        return False
    lower = name.lower()
    return (any(word in lower for word in WORDS[label])
            or label == 'energy' and lower in ENERGIES) and not any(
                word in lower for word in OTHERS)


def has_shape(label: str, value: Any, num_atoms: int) -> bool:
    r"""Whether a value is of the type and the shape of a label."""
    try:
        array = numpy.asarray(value)
    except ValueError:  # rows of different lengths
        return False
    if array.dtype.kind not in 'iuf':
        return False
    if label == 'energy':
        return array.shape in ((), (1, ))
    if label == 'forces':
        return array.shape == (num_atoms, 3)
    return array.size in (6, 9)
