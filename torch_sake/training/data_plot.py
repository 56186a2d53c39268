r"""A picture of the labels of a run."""

import os.path as osp
from typing import Any

import numpy
import torch
from torch import Tensor

from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.inspection.energies import energies_per_atom
from torch_sake.inspection.sample import Sample
from torch_sake.neighbors import neighbor_list
from torch_sake.utils.figures import new_figure, save_figure
from torch_sake.utils.units import ENERGIES, LENGTHS

NUM_FRAMES = 5000
NUM_ATOMS = 400_000  # whose forces are drawn
NUM_ATOMS_NEAR = 15_000  # whose distances are
REACH = 5.0  # Angstrom
NUM_PAIRS = 6  # of elements
BINS = 120
SEVERAL = 3  # elements with forces of their own


def plot_data(frames: AnyFrames, folder: str) -> None:
    r"""Draws energies per atom, without what the elements tell of them,
    forces, and distances by pair of elements into :obj:`data.png`, of about
    5000 frames. Data without energies have no picture.
    """
    if frames.label != 'energy':
        return
    step = max(len(frames) // NUM_FRAMES, 1)
    sample = Sample.of(frames[::step] if step > 1 else frames, NUM_FRAMES)
    sample = sample.some(NUM_ATOMS)
    figure, axes = new_figure(3 if frames.has_forces else 2)
    _draw_energies(axes[0], sample)
    if frames.has_forces:
        _draw_forces(axes[1], sample)
    _draw_distances(axes[-1], sample.some(NUM_ATOMS_NEAR))
    for axis in axes:
        axis.set_axisbelow(True)
        axis.grid(True, alpha=0.3)
    number = f'{len(frames)} frames' if len(sample) == len(frames) else (
        f'{len(sample)} of {len(frames)} frames')
    figure.suptitle(f'{osp.basename(frames.source)} ({number})')
    save_figure(figure, osp.join(folder, 'data.png'))


def _draw_energies(axis: Any, sample: Sample) -> None:
    unit = sample.units['energy']
    rest = energies_per_atom(sample) / ENERGIES[unit]
    rest = rest[rest.isfinite()]
    axis.set(xlabel=f'energy per atom, without the sum of\nreferences of the '
                    f'elements ({unit})', ylabel='number of frames')
    if rest.numel() > 0:
        axis.hist(rest, bins=_num_bins(rest), color='C0')
        axis.set_yscale('log' if _is_wide(rest) else 'linear')


def _num_bins(values: Tensor) -> int:
    return min(BINS // 2, 10 + int(values.numel()**0.5))


def _is_wide(values: Tensor) -> bool:
    r"""Returns whether a few values are far from the others, of which nothing
    would be seen.
    """
    low, high = (float(value) for value in values.sort().values[
        [len(values) // 20, -1 - len(values) // 20]])
    return float(values.max() - values.min()) > 5 * (high - low)


def _draw_forces(axis: Any, sample: Sample) -> None:
    unit = f"{sample.units['energy']}/{sample.units['length']}"
    scale = ENERGIES[sample.units['energy']] / LENGTHS[sample.units['length']]
    size = sample.force.norm(dim=1) / scale
    there = size > 0  # and known
    axis.set(xlabel=f'length of the force on an atom ({unit})', xscale='log',
             ylabel='number of atoms')
    if not bool(there.any()):
        axis.annotate('all are 0', (0.5, 0.5), xycoords='axes fraction',
                      horizontalalignment='center')
        return
    low = float(size[there].sort().values[int(there.sum()) // 1000])
    high = float(size[there].max())
    bins = numpy.geomspace(0.9 * max(low, 1e-8 * high), 1.1 * high,
                           _num_bins(size[there]))
    elements, counts = sample.z[there].unique(return_counts=True)
    shown = elements[counts.argsort(descending=True)][:SEVERAL + 2].tolist()
    for color, element in enumerate(shown):
        axis.hist(size[there & (sample.z == element)], bins=bins,
                  histtype='step', linewidth=1.4, color=f'C{color}',
                  label=_symbol(element))
    axis.legend()


def _draw_distances(axis: Any, sample: Sample) -> None:
    unit = sample.units['length']
    scale = LENGTHS[unit]
    (source, target), shift = neighbor_list(
        sample.pos, _reach(sample), sample.batch, sample.cell,
        None if sample.cell is None else sample.pbc)
    dist = (sample.pos[source] + shift - sample.pos[target]).norm(
        dim=1) / scale
    pair = torch.stack([sample.z[source], sample.z[target]]).sort(
        dim=0).values
    axis.set(xlabel=f'distance of two atoms ({unit})', yticks=[],
             ylabel='frequency, by pair of elements')
    kinds, counts = pair.unique(dim=1, return_counts=True)
    shown = kinds[:, counts.argsort(descending=True)][:, :NUM_PAIRS]
    bins = numpy.linspace(0, _reach(sample) / scale, BINS + 1)
    for index, kind in enumerate(sorted(shown.t().tolist())):
        found = dist[(pair == torch.tensor(kind)[:, None]).all(dim=0)]
        number = numpy.histogram(found, bins)[0]
        # One above the other, each as high as there is room:
        curve = index + 0.9 * number / number.max()
        axis.fill_between(bins[:-1], index, curve, step='post', alpha=0.4,
                          color=f'C{index}')
        axis.step(bins[:-1], curve, where='post', linewidth=1,
                  color=f'C{index}')
        least = float(found.min())
        axis.plot(least, index, marker='|', color='black')
        name = '-'.join(map(_symbol, kind))
        axis.annotate(f'{name}\nfrom {least:.3g}', (0.02, index + 0.4),
                      xycoords=('axes fraction', 'data'), fontsize='small')
    axis.set(xlim=(0, bins[-1]), ylim=(-0.1, max(len(shown.t()), 1)))


def _reach(sample: Sample) -> float:
    r"""Returns up to where distances are drawn, less if there were too many
    of them, as where lengths are wrong.
    """
    if sample.cell is None or not bool(sample.pbc.all(dim=1).any()):
        return REACH
    filled = sample.pbc.all(dim=1)
    volume = torch.linalg.det(sample.cell[filled]).abs()
    spacing = float((volume / sample.sizes[filled]).median())**(1 / 3)
    return min(REACH, 4 * spacing)


def _symbol(element: int) -> str:
    from ase.data import chemical_symbols
    return chemical_symbols[element]
