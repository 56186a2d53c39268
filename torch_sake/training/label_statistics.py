import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.models.readout import find_readout
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.training.references import AtomicEnergyFit, batch_weights

# What is this small beside the other labels of an atom is numerical noise:
NEGLIGIBLE = 1e-2


@dataclass
class Summary:
    r"""What follows from the labels of frames.

    Args:
        atomic_energies (torch.Tensor, optional): Energies of the elements, or
            other references, see
            :func:`~torch_sake.training.references.fit_atomic_energies`,
            :obj:`[100]`. A dipole moment has none.
        scale (float): Root mean square of the forces or, without forces, of
            what the references leave of the labels, see :func:`find_scale`;
            1 if it is zero.
        moment_size (float): Size of what multiplies the charge of an atom in a
            moment about the center of mass: the mean square distance, or the
            root of it for a dipole moment. That of anything else is 1.
        volume_per_atom (float): Mean volume of an atom in the frames with a
            stress, zero if there are none.
        elements (list of int): The atomic numbers that there are.
        num_compositions (int): The number of compositions that do not follow
            from each other.
        undetermined (list of int): The elements whose references do not
            follow from these, so that there was a choice.
    """
    atomic_energies: Tensor | None
    scale: float
    moment_size: float
    volume_per_atom: float
    elements: list[int]
    num_compositions: int
    undetermined: list[int]


def summarize(loader: Iterable[Data], label: str = 'energy',
              readout: str = 'add', units: dict[str, str] | None = None,
              use_stress: bool = True) -> Summary:
    r"""Returns the summary of the frames in batches, of which one at a time is
    in memory.

    Args:
        loader (iterable of Data): The batches.
        label (str, optional): What the frames are labeled with.
            (default: :obj:`"energy"`)
        readout (str, optional): How atoms make it up.
            (default: :obj:`"add"`)
        units (dict, optional): The names of the units, for messages.
            (default: :obj:`None`)
        use_stress (bool, optional): Whether stresses may tell the scale, as
            they may not if they are likely in another unit.
            (default: :obj:`True`)
    """
    kind, fit, elements = find_readout(readout), AtomicEnergyFit(), set()
    learned, arms, virials = MeanSquare(), MeanSquare(), torch.empty(0)
    has_forces, num_atoms, volumes = False, 0, []
    for data in loader:
        elements.update(data.z.unique().tolist())
        known = ~data[label].isnan()
        num_atoms += int(data.ptr.diff()[known].sum())
        if kind.has_references:
            fit.add(data.z, data.batch, data[label],
                    batch_weights(readout, data))
        else:  # all of it is learned
            learned.add(data[label])
        if 'force' in data:
            has_forces |= not bool(data.force.isnan().all())
            learned.add(data.force)
        if kind.power:
            arms.add(batch_weights('extent', data).sqrt())
        if 'stress' in data:
            known = ~data.stress.isnan().flatten(1).any(dim=1)
            volume = torch.linalg.det(data.cell[known]).abs()
            count = data.ptr.diff()[known]
            volumes.append((float(volume.sum()), int(count.sum())))
            stress = data.stress[known].flatten(1).square().mean(dim=1).sqrt()
            virials = torch.cat([virials, stress * volume / count])
    scale, atomic_energies = learned.root, None
    if kind.has_references:
        atomic_energies, rest = fit.solve()
        if not has_forces:
            scale = rest
        if label == 'energy':
            scale = find_scale(
                scale, rest * fit.num_frames / max(num_atoms, 1)
                if has_forces else 0.0, virials[:None if use_stress else 0],
                lambda: energies_per_atom(loader, atomic_energies),
                'forces' if has_forces else 'energies', units)
    volume, count = map(sum, zip((0.0, 0), *volumes))
    return Summary(atomic_energies, scale or 1.0, arms.root**(2 * kind.power),
                   volume / max(count, 1), sorted(elements),
                   *fit.choice())


class MeanSquare:
    r"""The root mean square of numbers that come in batches. NaN is none."""
    def __init__(self):
        self.total, self.number = 0.0, 0

    def add(self, values: Tensor) -> None:
        values = values[~values.isnan()]
        self.total += float(values.square().sum())
        self.number += values.numel()

    @property
    def root(self) -> float:
        r"""The root mean square, zero of no numbers."""
        return math.sqrt(self.total / max(self.number, 1))


def find_scale(size: float, energy: float, virials: Tensor,
               energies: Callable[[], Tensor], name: str = 'forces',
               units: dict[str, str] | None = None) -> float:
    r"""Returns the size of what is learned: that of the first labels, forces
    or else energies, unless they are zero but for numerical noise. They are if
    most frames say by their other labels, in units of energy per atom, that
    atoms feel a hundred times as much, as in the strained cells of an equation
    of state. Then the others tell the size.

    Args:
        size (float): The root mean square of the first labels.
        energy (float): That of the energies per atom, if they are not the
            first labels.
        virials (torch.Tensor): Stresses times the volume of an atom, of all
            frames with stresses.
        energies (callable): Returns the energies per atom of all frames. It is
            called where a few wrong ones could make the difference.
        name (str, optional): What the first labels are.
            (default: :obj:`"forces"`)
        units (dict, optional): The names of the units.
            (default: :obj:`None`)
    """
    virial = float(virials.square().mean().sqrt()) if len(virials) else 0.0
    if size >= 2 * NEGLIGIBLE * max(energy, virial):  # no median is larger
        return size
    others = float(virials.median()) if len(virials) else 0.0
    source = 'stresses'
    if energy > 0:
        rest = energies()
        by_energy = float((rest - rest.median()).abs().median())
        if by_energy > others:
            others, source = by_energy, 'energies'
    if size >= NEGLIGIBLE * others:
        return size
    if size > 0:
        energy_unit = f" {units['energy']}" if units else ''
        per = f"/{units['length']}" if units and name == 'forces' else ''
        warnings.warn(f'The {name} are only {size:.2g}{energy_unit}{per} on '
                      f'average, where the {source} of most frames say '
                      f'{others:.2g}{energy_unit} per atom: they are taken '
                      f'for noise. The scale of training comes from the '
                      f'{source}: look whether these are in their unit')
    return others


def energies_per_atom(loader: Iterable[Data],
                      atomic_energies: Tensor) -> Tensor:
    r"""Returns what the references leave of the energies that are known, by
    the number of atoms.

    Shapes:
        - **output:** energies :math:`(M)`
    """
    energies = torch.cat([
        (data.energy - sum_edges(atomic_energies[data.z], Segments(
            data.batch, data.num_graphs))) / data.ptr.diff()
        for data in loader])
    return energies[~energies.isnan()]
