import warnings
from typing import Any

import numpy

from torch_sake.datasets.frames.ase_labels import Entries, infos_of, labels_of
from torch_sake.datasets.frames.initial_charges import (
    describe_unsaid,
    unsaid_charge,
)
from torch_sake.datasets.frames.label_guesses import (
    GUESSED,
    describe_guesses,
    find_fitting,
    guesses,
)
from torch_sake.datasets.frames.label_keys import (
    FREE_ENERGY,
    NONE,
    LabelKeys,
    find_candidates,
    is_gradient,
    warn_of_gradient,
)
from torch_sake.utils.messages import one_line

MANY_NAMES = 100  # of entries that are remembered for messages
# What two energies of an atom may differ by, in eV:
NEGLIGIBLE = 1e-3
# The labels that are missed, and those that stand for them:
MISSED = {'energy': ('energy', ), 'forces': ('forces', ),
          'stress': ('stress', 'virial')}


class NoSuchLabel(ValueError):
    r"""No frame of a file has a label of the name that is given."""
    def __init__(self, argument: str, message: str):
        super().__init__(message)
        self.argument = argument


class LabelReader:
    r"""Reads the labels of the frames of a file, one after the other. Frames
    without some label are read, too. What makes labels of other names lost
    labels is that no frame of the file has one of a known name: this is
    found out at the end, by :meth:`finish`.

    Args:
        path (str): The file, for messages.
        keys (LabelKeys): The names of the labels.
    """
    def __init__(self, path: str, keys: LabelKeys):
        self.path, self.keys = path, keys
        self.num_frames = 0
        self.names: dict[str, None] = {}  # in their order
        self.found: dict[str, dict[str, None]] = {}
        # Of each label, names that might be others, and the frames that have
        # them without the label: how many and the first.
        self.others: dict[str, dict[str, str]] = {}
        self.missed: dict[str, tuple[int, int]] = {}
        # Names of what fits them by its type and shape alone:
        self.fitting: dict[str, dict[str, None]] = {}
        # Sums of initial charges, and the first frame that has each of them,
        # of frames that do not say their charge:
        self.charges: dict[int, int] = {}
        self.difference = 0.0  # of the two energies of an atom

    def read(self, atoms: Any) -> dict[str, Any]:
        r"""Returns the labels of the next frame, see
        :func:`~torch_sake.datasets.frames.ase_labels.labels_of`, and its
        :obj:`info`.
        """
        entries = Entries(atoms, f"'{self.path}', frame {self.num_frames}")
        labels, names = labels_of(entries, self.keys)
        if len(self.names) < MANY_NAMES:
            self.names |= dict.fromkeys(map(str, entries.all))
        for label in MISSED:
            if label in names:
                self.found.setdefault(label, {}).update(
                    dict.fromkeys(names[label]))
            else:
                self._look_for(label, entries)
        self._compare(entries, names, labels)
        charge = unsaid_charge(atoms)
        if charge:
            self.charges.setdefault(charge, self.num_frames)
        self.num_frames += 1
        return {**labels, 'info': infos_of(entries, names)}

    def _look_for(self, label: str, entries: Entries) -> None:
        atoms, kinds = entries.atoms, MISSED[label]
        given = self._key(label)
        if given == NONE or label == 'stress' and not atoms.pbc.any():
            return
        # Most frames are like the first ones.
        if label in GUESSED and not given and self.num_frames < MANY_NAMES:
            self.fitting.setdefault(label, {}).update(dict.fromkeys(
                find_fitting(label, entries.per_frame, entries.all,
                             len(atoms))))
        others = {name: kind for kind in kinds for name in find_candidates(
            kind, entries.per_frame, entries.all, len(atoms))}
        if others:
            self.others.setdefault(label, {}).update(others)
            count, first = self.missed.get(label, (0, self.num_frames))
            self.missed[label] = count + 1, first

    def _compare(self, entries: Entries, names: dict[str, list[str]],
                 labels: dict[str, Any]) -> None:
        # Forces of ASE are derivatives of the free energy.
        free_energy = entries.results.get(FREE_ENERGY)
        if self.keys.energy_key is None and free_energy is not None and (
                names.get('energy') == ['energy'] and 'forces' in names):
            free = numpy.asarray(free_energy)
            if free.size == 1 and free.dtype.kind in 'iuf':
                self.difference = max(self.difference, abs(
                    free.item() - labels['energy']) / len(entries.atoms))

    def finish(self) -> None:
        r"""Says what is wrong with the labels of the file as a whole.

        Raises:
            ValueError: If there are none of a name that is given, or no
                energies (forces, stresses), but other entries that might be
                some, or energies of two kinds.
        """
        self._check_given()
        self._check_others()
        if self.charges:
            charge, first = next(iter(self.charges.items()))
            warnings.warn(describe_unsaid(f"'{self.path}', frame {first}",
                                          charge, self.charges))
        missed = guesses(self.keys, self.found, self.fitting)
        if missed:
            warnings.warn(describe_guesses(self.path, missed))
        energies = self.found.get('energy', {})
        if FREE_ENERGY in energies and len(energies) > 1:
            raise ValueError(f"'{self.path}': 'energy_key' must be given: "
                             f"some frames have {_list(energies)} only")
        if self.difference > NEGLIGIBLE:
            warnings.warn(
                f"'{self.path}': 'energy' and '{FREE_ENERGY}' differ by up to "
                f"{1000 * self.difference:.3g} meV per atom: forces are "
                f"usually those of the latter (--energy_key {FREE_ENERGY})")
        for name in filter(is_gradient, self.found.get('forces', ())):
            warn_of_gradient(self.path, name)

    def _check_given(self) -> None:
        for argument, key in self.keys.given():
            label = argument.removesuffix('_key')
            found = self.found.get(
                'stress' if label == 'virial' else label, ())
            if key != NONE and key not in found:
                # A virial of molecules alone is there, but is none.
                if key in self.names and label in ('stress', 'virial'):
                    continue
                raise NoSuchLabel(
                    argument,
                    f"'{self.path}': '{argument}' must be the name of "
                    f"{_PLURALS[label]} in the file (got {key!r}; it has "
                    f"{one_line(sorted(self.names), 1000)})")

    def _key(self, label: str) -> str | None:
        r"""Returns the name that is given for a label."""
        keys = (getattr(self.keys, f'{kind}_key') for kind in MISSED[label])
        return next(filter(None, keys), None)

    def _check_others(self) -> None:
        lost = {label: others for label, others in self.others.items()
                if label not in self.found and self._key(label) is None}
        if lost:
            first = {f'{kind}_key': name for name, kind in (
                next(iter(others.items())) for others in lost.values())}
            options = ' '.join(f'--{key} {name}'
                               for key, name in first.items())
            raise ValueError(
                f"'{self.path}': {_list(first)} must be given: the file has "
                + ', '.join(f"no '{label}' but {_list(others)}"
                            for label, others in lost.items())
                + f" ({options}, or '{NONE}' to go without)")
        for label, others in self.others.items():
            count, first = self.missed[label]
            warnings.warn(
                f"'{self.path}': {count} of {self.num_frames} frames, the "
                f"first of them {first}, have no "
                f"'{self._key(label) or label}' but "
                f"{_list(others)}, which is not read")


_PLURALS = {'energy': 'energies', 'forces': 'forces', 'stress': 'stresses',
            'virial': 'virials'}


def _list(names: Any) -> str:
    r"""Returns names in words."""
    *first, last = [f"'{name}'" for name in names]
    return f"{', '.join(first)} and {last}" if first else last
