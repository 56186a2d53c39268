r"""What is done before the first round."""

import os.path as osp
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_sake.datasets.frames.charges import CHARGES, SPINS
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.datasets.frames.split import Split
from torch_sake.datasets.frames.to_ase import to_atoms
from torch_sake.learning.beginning import Beginning
from torch_sake.learning.config import FILES, LearnConfig
from torch_sake.learning.files import once, round_folder
from torch_sake.learning.labels import structure_of
from torch_sake.learning.training import train, uncertainty_on, write_split
from torch_sake.learning.walks import seed_of
from torch_sake.sampling import label
from torch_sake.utils.units import ASE_UNITS

LIMIT, METHOD = 'limit.json', 'method.json'
TRAININGS = 1 << 21  # of seeds, beside those of simulations
MAX_VAL = 200  # frames that say how unsure a potential is
NUM_COMPARED = 3  # frames of 'data' that are labeled again
# By which labels of one method may differ: a share of the forces, and eV per
# atom.
SAME_FORCES, SAME_ENERGY = 0.05, 0.01


def train_first(config: LearnConfig, begin: Beginning) -> list[str]:
    r"""Returns the checkpoints that the first round begins with: those of
    'init', or of potentials that are trained on 'data' first.
    """
    if not begin.learns:
        assert config.init is not None
        return list(config.init)
    folder = round_folder(config.out, 0)
    settings = {'num_steps': config.num_steps}
    if config.init is None:
        settings.update(
            learning_rate=config.learning_rate, cutoff=config.cutoff,
            hidden_channels=config.hidden_channels,
            num_layers=config.num_layers, embed_charge=config.embed_charge)
    else:
        settings.update(learning_rate=config.finetune_learning_rate,
                        refit=config.refit)
    return train_members(config, folder, begin.frames, begin.split,
                         config.init, 0, settings)


def train_members(config: LearnConfig, folder: str, frames: AnyFrames,
                  split: Split, init: Sequence[str] | None, number: int,
                  settings: dict[str, Any]) -> list[str]:
    r"""Trains the potential, or all members of an ensemble, and returns the
    folders of their runs.

    Args:
        config (LearnConfig): The loop.
        folder (str): The folder of the round.
        frames (Frames, FramesOnDisk or JoinedFrames): The frames.
        split (Split): Their split.
        init ([str] or None): The potentials to start from.
        number (int): The number of the round.
        settings (dict): Further settings of the runs.
    """
    outs = runs_of(config, folder)
    path = osp.join(folder, 'split.npz')
    if not osp.exists(path):
        write_split(path, split)
    for member, out in enumerate(outs):
        def run(member: int = member, out: str = out) -> dict[str, Any]:
            train(config, out, frames, path, init and init[member],
                  seed=seed_of(config.seed, TRAININGS, number, member),
                  **settings)
            return {'is_over': True}
        once(osp.join(folder, f'{osp.basename(out)}.json'), run)
    return outs


def runs_of(config: LearnConfig, folder: str) -> list[str]:
    r"""Returns the folders of the trainings of a round."""
    return [osp.join(folder, 'train' if config.size == 1 else
                     f'train_{member}') for member in range(config.size)]


def limit_of(config: LearnConfig, begin: Beginning,
             checkpoints: list[str]) -> float:
    r"""Returns the uncertainty of a force in eV/Angstrom at which simulations
    stop, of all rounds.
    """
    if config.max_force_std is not None:
        return config.max_force_std

    def measure() -> dict[str, Any]:
        assert begin.frames is not None and begin.split is not None
        val = begin.split.val
        val = val[::-(-len(val) // MAX_VAL)]
        found = uncertainty_on(checkpoints, structures_of(begin.frames, val),
                               config.device)
        print(f'The largest uncertainty of a force is {found:.4g} '
              f'eV/Angstrom on validation frames, in the median; '
              f'simulations stop at {config.std_factor:g} times that')
        return {'max_force_std': config.std_factor * found}
    return once(osp.join(config.out, LIMIT), measure)['max_force_std']


def structures_of(frames: AnyFrames, index: Tensor) -> list[Any]:
    r"""Returns the structures of some frames, :class:`ase.Atoms`, with their
    charges and multiplicities.
    """
    frames = frames[index].in_units(ASE_UNITS)
    structures = []
    for number, data in enumerate(frames):
        atoms = to_atoms(data)
        atoms.info = {
            name: value for name, value in frames.info(number).items()
            if name in (*CHARGES, *SPINS)}
        structures.append(atoms)
    return structures


def compare_methods(config: LearnConfig, begin: Beginning) -> None:
    r"""Warns if what labels says something else of frames of 'data' than
    their labels do: those of two methods must not be learned together.
    """
    if config.label == FILES or begin.frames is None:
        return
    begin_frames, split = begin.frames, begin.split
    assert split is not None

    def measure() -> dict[str, Any]:
        known = begin_frames.known('energy') & begin_frames.known('force')
        index = split.val[known[split.val]].sort().values[:NUM_COMPARED]
        if len(index) == 0:
            return {'warning': None}
        structures = structures_of(begin_frames, index)
        try:
            found = label([structure_of(atoms, 'compared')
                           for atoms in structures], config.label,
                          folder=osp.join(config.out, 'method'),
                          num_processes=config.num_processes)
        except RuntimeError as error:
            return {'warning': f"'label' could not label frames of 'data': "
                               f"{error}"}
        if len(found) < len(index):
            return {'warning': None}
        return {'warning': differences(
            config.label, begin_frames[index].in_units(ASE_UNITS), found)}
    text = once(osp.join(config.out, METHOD), measure)['warning']
    if text is not None:
        warnings.warn(text)


def differences(name: str, frames: AnyFrames,
                found: AnyFrames) -> str | None:
    r"""Returns what there is to say of labels of two methods."""
    forces = torch.cat([data.force for data in frames])
    others = torch.cat([data.force for data in found])
    error = float((others - forces).square().mean().sqrt())
    size = float(forces.square().mean().sqrt())
    shift = max(abs(float(other.energy - data.energy)) / len(data.z)
                for data, other in zip(frames, found))
    if error <= SAME_FORCES * max(size, 0.1) and shift <= SAME_ENERGY:
        return None
    return (f"'label' must be of the method of 'data': {name} says forces "
            f"that differ by {error:.3g} eV/Angstrom (RMSE) and energies by "
            f"up to {shift:.3g} eV per atom from the labels of "
            f"{frames.where(0)} and {len(frames) - 1} others")
