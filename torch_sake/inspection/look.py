from dataclasses import replace

import torch

from torch_sake.datasets.frames.joined_frames import JoinedFrames
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.inspection.distances import (
    Nearest,
    distance_remarks,
    likely_length,
    nearest,
)
from torch_sake.inspection.energies import (
    energies_per_atom,
    energy_remarks,
    force_remarks,
)
from torch_sake.inspection.pairs import near_pairs
from torch_sake.inspection.remark import Remark
from torch_sake.inspection.sample import Sample
from torch_sake.inspection.stress import stress_remarks
from torch_sake.inspection.twins import twin_remarks
from torch_sake.inspection.units import (
    find_evidence,
    find_units,
    magnitude_remark,
    unit_remark,
)
from torch_sake.utils.inputs import find_data_set
from torch_sake.utils.units import ENERGIES, LENGTHS

MOST_ATOMS = 2_000_000  # of which distances are measured
MOST_IN_CELLS = 100_000  # of periodic frames, where it takes longer


def look_at(frames: AnyFrames, cutoff: float | None = None) -> list[Remark]:
    r"""Returns what is likely wrong with labeled structures, each in one line
    with the frames and what to do: units and signs, energies or forces far
    outside of the rest or not computed, atoms too close to others or far from
    all, and frames that occur twice. Of data that are right there is nothing
    to say. Those labeled with another property than an energy are not looked
    at.

    Of frames in a file of :func:`~torch_sake.datasets.convert_frames`, at most
    20,000 are looked at; of others, all energies and forces, and the distances
    of two million atoms (100,000 if there is a cell).

    Args:
        frames (Frames or FramesOnDisk): The structures.
        cutoff (float, optional): That of the model, in the unit of length.
            (default: :obj:`None`)
    """
    if frames.label != 'energy' or not _is_known(frames.units):
        return []
    sample = Sample.of(frames)
    in_cells = bool(sample.pbc.any())
    part = sample.some(MOST_IN_CELLS if in_cells else MOST_ATOMS)
    near = nearest(part)
    remarks = _remarks_by_source(frames, part, near)
    if not any(remark.message.startswith('Lengths') for remark in remarks):
        remarks += distance_remarks(part, near, cutoff)
    remarks += energy_remarks(sample, energies_per_atom(sample))
    remarks += force_remarks(sample) + twin_remarks(sample)
    looked = min(len(sample), len(part))
    if remarks and looked < len(frames):
        remarks.append(Remark(
            f'{looked} of {len(frames)} frames were looked at'
            + (' for distances' if len(part) < len(sample) else '')))
    return remarks


def look_at_own(frames: AnyFrames,
                cutoff: float | None = None) -> list[Remark]:
    r"""Returns what :func:`look_at` finds, but of data sets with a name, which
    are what they are.
    """
    own = find_data_set(str(frames.source))[0] is None
    return look_at(frames, cutoff) if own else []


def _remarks_by_source(frames: AnyFrames, sample: Sample,
                       near: Nearest) -> list[Remark]:
    r"""Returns what there is to say about units and signs, of each source by
    itself, in the units that it is said to be in. If there is nothing, all of
    them together may tell more.
    """
    parts = list(frames.of_parts()) if isinstance(frames, JoinedFrames) else []
    remarks = []
    for part, rows in parts if len(parts) > 1 else ():
        places = torch.isin(sample.numbers, rows).nonzero()[:, 0]
        if places.numel() > 0:
            atoms = sample.atoms_of(places)
            remarks += [replace(remark, source=part.source) for remark in
                        _unit_remarks(replace(sample.select(places),
                                              units=part.source_units),
                                      Nearest(near.dist[atoms],
                                              near.ratio[atoms]))]
    return remarks or _unit_remarks(
        replace(sample, units=frames.source_units), near)


def _unit_remarks(sample: Sample, near: Nearest) -> list[Remark]:
    r"""Returns what there is to say about the units and signs of lengths and
    labels.
    """
    declared, remarks = sample.units['length'], []
    length = likely_length(sample, near) or declared
    pairs = near_pairs(sample)
    evidence, signs = find_evidence(
        sample, pairs, LENGTHS[length] / LENGTHS[declared])
    units = find_units(evidence, sample, length)
    if length != declared:
        middle = float(near.ratio[near.ratio.isfinite()].median())
        hint = '' if units is not None else (
            f": convert them ('--length_unit {length}')")
        if length == 'Bohr' and evidence[:2] == (None, None):
            hint += ", and look whether energies are in Hartree ('--units')"
        remarks.append(Remark(
            f'Lengths do not look like {declared}: neighbors are {middle:.2g} '
            f'times as far from each other as atoms with bonds. They are '
            f'likely in {length}{hint}'))
    if units is not None:
        remarks.append(unit_remark(units, evidence, sample, length))
    elif evidence.stiffness is None and length == declared:
        large = magnitude_remark(sample)
        remarks += [large] if large is not None else []
    if remarks:  # what stresses should be is not known
        return remarks + signs
    fit = (evidence.fit or 1.0) * (-1.0 if signs else 1.0)
    return signs + stress_remarks(sample, pairs, fit)


def _is_known(units: dict[str, str]) -> bool:
    return units['length'] in LENGTHS and units['energy'] in ENERGIES
