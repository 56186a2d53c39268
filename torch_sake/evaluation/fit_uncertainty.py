r"""Uncertainties of a trained potential, from its training frames and the
errors of others.
"""

import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.datasets.frames.charges import with_states
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.evaluation.config import EVAL_BATCH_SIZE
from torch_sake.evaluation.metrics import inputs_of, predict_batch
from torch_sake.potentials.electrons import any_embeds_charge
from torch_sake.potentials.load import load_predictor
from torch_sake.potentials.potential import Potential
from torch_sake.potentials.uncertainty import (
    Rigidity,
    check_has_features,
    factorize,
)
from torch_sake.utils.inputs import find_checkpoint
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import check_positive_int, require
from torch_sake.utils.released import check_kept

# Of the mean of the diagonal; that which makes the errors most likely:
REGULARIZATIONS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
# Atoms of all elements that those of each lean on in the calibration:
NUM_SHARED = 10
# Of frames, whatever their number:
MAX_FRAMES, MAX_ATOMS = 10_000, 200_000
TINY = 1e-12


class Errors(NamedTuple):
    r"""What a potential does wrong on some frames.

    Shapes:
        - atomic numbers :math:`(N)`, features :math:`(N, F)`, mean squares of
          the errors of the components of the forces :math:`(N)`, graphs
          :math:`(N)`, errors of energies :math:`(B)`; NaN where there is no
          label
    """
    z: Tensor
    features: Tensor
    force: Tensor
    graph: Tensor
    energy: Tensor


def fit_uncertainty(potential: Potential | PathLike, train: AnyFrames,
                    val: AnyFrames,
                    batch_size: int = EVAL_BATCH_SIZE) -> Potential:
    r"""Gives a trained potential the uncertainties of
    :class:`~torch_sake.potentials.uncertainty.Rigidity`, and returns it. It
    takes a pass over the frames, of each at most 10,000 or 200,000 atoms.
    Training runs end with it, so that it is for older potentials and other
    frames.

    .. code-block:: python

        frames = read_frames('my_dft.extxyz')
        potential = fit_uncertainty('runs/old', frames[:450], frames[450:])
        potential.uncertainty(z, pos).forces

    Args:
        potential (Potential or str): The potential, with a model of this
            package. Given the path of a checkpoint, or the folder of a run,
            they are written into this file, too.
        train (Frames or FramesOnDisk): The frames that it was trained on.
        val (Frames or FramesOnDisk): Others, of the same kind, with energies
            and, if there are to be uncertainties of forces, forces, in the
            units of the potential. Those with other elements are left out.
        batch_size (int, optional): Number of frames of a batch.
            (default: :obj:`64`)

    Raises:
        TypeError, ValueError: If the model is none of this package, there are
            no frames, or the labels are not known.
    """
    check_positive_int('batch_size', batch_size)
    path, units = None, None
    if isinstance(potential, (str, os.PathLike)):
        path = potential
        check_kept('potential', path)
        potential, _, description = load_predictor(path, 'potential')
        units = description['units']
    if not isinstance(potential, Potential):
        raise TypeError(f"'potential' must be a Potential or the path of a "
                        f"checkpoint (got {type(potential)})")
    for name, frames in (('train', train), ('val', val)):
        if not isinstance(frames, AnyFrames):
            raise TypeError(f"'{name}' must be Frames or FramesOnDisk "
                            f"(got {type(frames)})")
        require(len(frames) > 0, f"'{name}' must have a frame (got none)")
        require(units in (None, frames.units),
                f"'{name}' must have the units of the potential, {units} "
                f"(got {frames.units})")
    if any_embeds_charge(potential):
        train, val = (with_states(frames, True)[0] for frames in (train, val))
    # With a generator of their own: nothing is drawn from the global one.
    loaders = [DataLoader(frames[sample(frames)], batch_size=batch_size,
                          generator=torch.Generator())
               for frames in (train, val)]
    potential.rigidity = fit_rigidity(potential, *loaders)
    if path is not None:
        write_uncertainty(path, potential.rigidity)
    return potential


def sample(frames: AnyFrames, number: int = MAX_FRAMES) -> Tensor:
    r"""Returns the indices of at most so many frames, evenly, and of the first
    ones with elements that are not in these.
    """
    num_atoms = max(1.0, float(frames.num_atoms.double().mean()))
    number = max(1, min(number, int(MAX_ATOMS / num_atoms)))
    chosen = torch.arange(0, len(frames), math.ceil(len(frames) / number))
    if chosen.numel() == len(frames):
        return chosen
    known = {element for data in frames[chosen]
             for element in data.z.tolist()}
    missing, added = {*frames.elements} - known, []
    for index in range(len(frames)):
        if not missing:
            break
        found = missing.intersection(frames[index].z.tolist())
        if found:
            added.append(index)
            missing -= found
    return torch.cat([chosen, torch.tensor(added, dtype=torch.long)])


@torch.no_grad()
def fit_rigidity(potential: Potential, train: Iterable[Data],
                 val: Iterable[Data]) -> Rigidity:
    r"""Returns the uncertainties of a potential, see :func:`fit_uncertainty`.

    Args:
        potential (Potential): The potential.
        train (iterable): The batches that it was trained on.
        val (iterable): Those that it is calibrated on. Frames with other
            elements than there are in :obj:`train` are left out.
    """
    check_has_features(potential.model)
    elements, moments, counts = _sum_moments(potential, train)
    errors = _known_errors(_find_errors(potential, val), elements)
    require(not bool(errors.energy.isnan().all()),
            "'val' must have frames with energies, and of elements that are "
            "in 'train' (got none)")
    best, lowest = None, math.inf
    for regularization in REGULARIZATIONS:
        rigidity = Rigidity(elements, moments.size(1), not bool(
            errors.force.isnan().all())).to(moments.device)
        rigidity.factors = factorize(moments, counts, regularization)
        badness = _calibrate(rigidity, errors)
        if best is None or badness < lowest:
            best, lowest = rigidity, badness
    return best


def _on_device(potential: Potential,
               batches: Iterable[Data]) -> Iterator[Data]:
    device = next(potential.parameters()).device
    for data in batches:
        yield data.to(device)


def _features(potential: Potential, data: Data) -> Tensor:
    inputs, sizes = inputs_of(potential, data)
    return potential.energy_and_features(*inputs, **sizes)[1]


def _sum_moments(potential: Potential, batches: Iterable[Data]
                 ) -> tuple[list[int], Tensor, Tensor]:
    r"""Returns the elements, and the sums of :math:`f f^\top` and the number
    of the atoms of each.
    """
    moments, counts = {}, {}
    for data in _on_device(potential, batches):
        features = _features(potential, data).double()
        for element in data.z.unique().tolist():
            some = features[data.z == element]
            moments[element] = moments.get(element, 0.0) + some.T @ some
            counts[element] = counts.get(element, 0) + len(some)
    elements = sorted(counts)
    sums = torch.stack([moments[element] for element in elements])
    return elements, sums, torch.tensor(
        [counts[element] for element in elements], dtype=torch.double,
        device=sums.device)


def _find_errors(potential: Potential, batches: Iterable[Data]) -> Errors:
    rows, num_graphs = [], 0
    for data in _on_device(potential, batches):
        outputs = predict_batch(potential, data)
        force = torch.full((data.num_nodes, ), torch.nan, dtype=torch.double,
                           device=data.z.device)
        if 'force' in outputs:
            force = (outputs['force'].double() -
                     data.force).square().mean(dim=1)
        rows.append(Errors(data.z, _features(potential, data), force,
                           data.batch + num_graphs,
                           outputs['energy'].double() - data.energy))
        num_graphs += data.num_graphs
    return Errors(*map(torch.cat, zip(*rows)))


def _known_errors(errors: Errors, elements: list[int]) -> Errors:
    r"""Returns the errors of frames of some elements only."""
    known = torch.isin(errors.z, torch.tensor(elements,
                                              device=errors.z.device))
    graphs = torch.ones_like(errors.energy, dtype=torch.bool)
    graphs[errors.graph[~known]] = False
    atoms = graphs[errors.graph]
    numbers = graphs.cumsum(0) - 1
    return Errors(errors.z[atoms], errors.features[atoms], errors.force[atoms],
                  numbers[errors.graph[atoms]], errors.energy[graphs])


def _calibrate(rigidity: Rigidity, errors: Errors) -> float:
    r"""Sets the scales of a rigidity to the most likely ones for normal errors
    and returns how unlikely these are then.
    """
    distances = rigidity.distances(errors.z, errors.features)
    known = ~errors.force.isnan()
    index = (errors.z.unsqueeze(1) == rigidity.numbers).long().argmax(dim=1)
    force_scales = torch.ones_like(rigidity.scales[:, 0])
    if rigidity.has_forces:
        force_scales = _scales((errors.force / distances.square())[known],
                               index[known], len(rigidity.elements))
    std = force_scales[index] * distances
    variances = torch.zeros_like(errors.energy, dtype=torch.double).index_add(
        0, errors.graph, std.square())
    labeled = ~errors.energy.isnan()
    ratio = (errors.energy.square() / variances)[labeled].mean().sqrt()
    ratio = ratio.clamp(min=TINY)
    rigidity.scales = torch.stack([
        force_scales if rigidity.has_forces else
        torch.zeros_like(force_scales), ratio * force_scales], dim=1)
    if rigidity.has_forces:
        return _badness(errors.force[known], std[known].square())
    return _badness(errors.energy[labeled].square(),
                    (ratio.square() * variances)[labeled])


def _scales(ratios: Tensor, index: Tensor, number: int) -> Tensor:
    r"""Returns the roots of the means of squared ratios of each element; few
    of them lean on all.
    """
    shared = NUM_SHARED * ratios.mean()
    sums = torch.stack([ratios, torch.ones_like(ratios)], dim=1)
    sums = sums.new_zeros(number, 2).index_add(0, index, sums)
    mean = (shared + sums[:, 0]) / (NUM_SHARED + sums[:, 1])
    return mean.sqrt().clamp(min=TINY)


def _badness(square: Tensor, variance: Tensor) -> float:
    r"""Returns the mean of the negative logarithm of the density of normal
    errors."""
    variance = variance.clamp(min=TINY**2)
    return float((0.5 * variance.log() + 0.5 * square / variance).mean())


def write_uncertainty(path: PathLike, rigidity: Rigidity) -> None:
    r"""Adds uncertainties to a checkpoint, in the place of those that it has.

    Args:
        path (str or os.PathLike): The checkpoint, or the folder of a run.
        rigidity (Rigidity): The uncertainties.
    """
    check_kept('path', path)
    path = find_checkpoint(path)
    tensors, description = load_checkpoint(path)
    prefix, own = 'potential.', 'rigidity.'
    tensors = {name: value for name, value in tensors.items()
               if not name.startswith(prefix + own)}
    added = rigidity.state_dict(prefix=own)
    tensors.update({prefix + name: value for name, value in added.items()})
    if 'potential' in description:
        names = [name for name in description['potential']['names']
                 if not name.startswith(own)]
        description['potential'] = {**description['potential'],
                                    'names': [*names, *added]}
    save_checkpoint(path, tensors, {**description,
                                    'uncertainty': rigidity.description})
