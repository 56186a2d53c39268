r"""What a run learns before its data: structures that are grown from its
training frames, and what a calculator says of them.
"""

import json
import os.path as osp
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch_sake.datasets.frames.charges import state_of
from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.datasets.frames.convert import write_frames
from torch_sake.datasets.frames.fingerprint import frames_fingerprint
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.datasets.frames.on_disk import FramesOnDisk
from torch_sake.evaluation.metrics import units_of_properties
from torch_sake.sampling.calculator import check_calculator, title_of
from torch_sake.sampling.growth import grow
from torch_sake.sampling.labeling import elements_of, label
from torch_sake.sampling.structure import Structure
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.training.isolated import find_isolated, isolated_energies
from torch_sake.training.parts_config import PartsConfig
from torch_sake.training.pretrain_config import BATCH_SIZE, PretrainConfig
from torch_sake.training.pretrain_length import (
    keep_length_of_begun,
    length_of,
)
from torch_sake.training.references_config import ReferencesConfig
from torch_sake.training.threads import limit_threads
from torch_sake.utils.durations import clock
from torch_sake.utils.elements import symbols_of
from torch_sake.utils.files import write_json
from torch_sake.utils.inputs import LAST
from torch_sake.utils.messages import errors_name
from torch_sake.utils.names import XTB
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import ASE_UNITS, check_units
from torch_sake.version import __version__

# What there is in the folder of a run:
FOLDER, FRAMES, ABOUT, LABELS = ('pretrain', 'grown.frames', 'grown.json',
                                 'labels')
# Settings of a run that are not those of its pretraining, with all of these
# classes:
OWN = {'data', 'root', 'num_frames', 'drop_outliers', 'out', 'resume',
       'init', 'freeze', 'refit', 'num_steps', 'max_time', 'batch_size',
       'learning_rate', 'stress_weight', 'patience'}.union(*(
           {field.name for field in fields(kind)} for kind in (
               PretrainConfig, PartsConfig, ReferencesConfig, LabelConfig)))
PERIODIC = ('cell', 'pbc', 'stress')  # one of each frame
VAL_SHARE, MAX_VAL = 0.05, 200  # of frames


def begin_pretraining(config: TrainConfig) -> TrainConfig:
    r"""Returns the settings of a run that is to begin, or to go on where it
    was interrupted: in its pretraining, before its own first step, it is one
    that begins.

    Raises:
        ValueError: If the folder holds a pretraining already and
            :obj:`config.resume` is not set.
    """
    if config.pretrain is None or osp.exists(osp.join(config.out, LAST)):
        return config
    folder = osp.join(config.out, FOLDER)
    begun = osp.exists(folder)
    require(config.resume or not begun,
            f"'out' must not hold a pretraining already, unless it goes on "
            f"with 'resume' (got {folder})")
    if begun:
        config = keep_length_of_begun(config, osp.join(folder, ABOUT))
    return replace(config, resume=config.resume and not begun)


def pretrain(config: TrainConfig, data: TrainingData,
             build: Callable[[TrainConfig, Frames], Any]
             ) -> tuple[str, dict[str, Any]]:
    r"""Pretrains for a run, or goes on with that, and returns the folder of
    the pretraining and what checkpoints say of it.

    Args:
        config (TrainConfig): The run.
        data (TrainingData): Its data.
        build (callable): Returns the trainer of a run on frames.

    Raises:
        ImportError, TypeError, ValueError: If it cannot be, before anything
            runs.
        KeyboardInterrupt: After an interruption, with everything saved.
    """
    check_pretraining(config, data)
    frames, about = grown_frames(config, data)
    trainer = build(pretrain_config(config, frames), frames)
    trainer.adds_uncertainty = False  # of weights that will change
    print(describe_frames(frames, config.pretrain))
    if trainer.device.type == 'cpu':
        limit_threads(trainer.data.edges_per_step(trainer.config))
    trainer.fit()
    print(describe_errors(trainer))
    return trainer.config.out, about


def check_pretraining(config: TrainConfig, data: TrainingData) -> None:
    r"""Raises an error if a run cannot be pretrained for its data, before
    anything runs.
    """
    frames = data.frames
    require(frames.label == 'energy',
            f"'pretrain' needs data with energies (got '{frames.label}' in "
            f"{frames.source})")
    check_units(frames.units)
    check_calculator(config.pretrain, data.elements,
                     [(charge, spin) for charge, spin in data.states],
                     'pretrain')


def grown_frames(config: TrainConfig,
                 data: TrainingData) -> tuple[Frames, dict[str, Any]]:
    r"""Returns the frames that a run is pretrained on, in the units of its
    data, and what checkpoints say of them. They are grown from the training
    frames and labeled, or read if they were before.

    Args:
        config (TrainConfig): The run.
        data (TrainingData): Its data.

    Raises:
        ValueError: If those in the folder were grown with other settings, or
            from other data.
    """
    folder = osp.join(config.out, FOLDER)
    path = osp.join(folder, FRAMES)
    source = data.frames[data.split.train.sort().values]
    about = {'pretrain': config.pretrain,
             'pretrain_frames': config.pretrain_frames, 'seed': config.seed,
             'units': data.frames.units, 'data': frames_fingerprint(source)}
    versions = versions_of(config.pretrain)
    about_path = osp.join(folder, ABOUT)
    if osp.exists(about_path):
        with errors_name(about_path), open(about_path) as file:
            found = json.load(file)
            check_same(found['about'], about)
            # A file that is complete was written by what it says.
            require(osp.exists(path) or found['versions'] == versions,
                    f"Labels must go on with the versions they began with, "
                    f"{found['versions']} (got {versions})")
            versions = found['versions']
    else:
        require(not osp.exists(path),
                f"'{path}' must have its '{ABOUT}' beside it, which says what "
                f"it was grown from (got none)")
    write_json(about_path, {'about': about, 'versions': versions,
                            'length': length_of(config)})
    if not osp.exists(path):
        structures = grow(source.in_units(ASE_UNITS),
                          num_frames=config.pretrain_frames, seed=config.seed)
        try:
            frames = label(structures, config.pretrain, seed=config.seed,
                           folder=osp.join(folder, LABELS))
        except RuntimeError as error:
            raise ValueError(f"'pretrain' must label structures ({error})"
                             ) from error
        check_grown(structures, frames, config.pretrain)
        frames = with_full_states(frames) if config.embed_charge else frames
        write_frames([frames.in_units(data.frames.units)], path)
        shutil.rmtree(osp.join(folder, LABELS))
    frames = in_memory(FramesOnDisk(path))  # which takes less time
    return frames, {'calculator': config.pretrain, 'versions': versions,
                    'num_frames': len(frames),
                    'fingerprint': frames_fingerprint(frames)}


def check_grown(structures: Sequence[Structure], frames: AnyFrames,
                calculator: str) -> None:
    r"""Raises an error if a calculator has failed for an isolated atom, which
    the energies of all molecules follow from.
    """
    alone = isolated_energies(frames, find_isolated(frames))
    missing = [number for number in elements_of(structures)
               if number not in alone]
    require(not missing, f"'pretrain' needs the isolated atoms of all "
                         f"elements, and {title_of(calculator)} failed for "
                         f"{symbols_of(missing)}")


def check_same(found: dict[str, Any], about: dict[str, Any]) -> None:
    r"""Raises an error if frames that are there follow from something else.
    """
    for name, value in about.items():
        require(found.get(name) == value,
                f"'resume' needs the pretraining of the run: '{name}' was "
                + ('others: training frames differ' if name == 'data' else
                   f'{found.get(name)!r} (got {value!r})'))


def versions_of(calculator: str) -> dict[str, str]:
    r"""Returns the versions of what labels."""
    package = 'tblite' if calculator == XTB else (
        calculator.partition(':')[0].partition('.')[0])
    versions = {'torch_sake': __version__}
    try:
        versions[package] = version(package)
    except PackageNotFoundError:  # code of the user's
        pass
    return versions


def with_full_states(frames: Frames) -> Frames:
    r"""Returns frames all of which say their charge and multiplicity, the
    lowest one if they say none.
    """
    infos = []
    for index in range(len(frames)):
        info = frames.info(index)
        state = state_of(info, frames.where(index))
        charge = state.charge or 0
        electrons = int(frames[index].z.sum()) - charge
        infos.append({**info, 'charge': charge,
                      'spin': state.spin or 1 + electrons % 2})
    return in_memory(frames, infos)


def in_memory(frames: AnyFrames,
              infos: list[dict[str, Any]] | None = None) -> Frames:
    r"""Returns frames in memory, with what is known of them."""
    arrays: dict[str, Any] = {}
    for name in ('z', 'pos', 'energy', 'force', 'cell', 'pbc', 'stress'):
        if name in frames[0]:
            arrays[name] = [frame[name][0] if name in PERIODIC else frame[name]
                            for frame in frames]
    infos = infos or [frames.info(index) for index in range(len(frames))]
    return Frames(**arrays, infos=infos, name=frames.name, units=frames.units,
                  source=frames.source)


def pretrain_config(config: TrainConfig, frames: AnyFrames) -> TrainConfig:
    r"""Returns the settings of the pretraining of a run: those of its model
    and of its training, but for its length and its rate. Isolated atoms have
    exactly their energies.

    Args:
        config (TrainConfig): The run.
        frames (Frames): What it is pretrained on.
    """
    folder = osp.join(config.out, FOLDER)
    shared = {name: value for name, value in asdict(config).items()
              if name not in OWN}
    number = len(frames) - int(find_isolated(frames).sum())
    num_val = max(min(round(VAL_SHARE * number), MAX_VAL), 1)
    seconds = config.seconds
    return TrainConfig(
        **shared, data=osp.join(folder, FRAMES), out=folder,
        resume=osp.exists(osp.join(folder, LAST)),
        atomic_energies='isolated', num_train=number - num_val,
        num_val=num_val, num_test=0, num_steps=config.pretrain_steps,
        max_time=None if seconds is None else clock(max(seconds, 1.0)),
        batch_size=max(config.batch_size, BATCH_SIZE),
        learning_rate=config.pretrain_learning_rate)


def describe_frames(frames: AnyFrames, calculator: str) -> str:
    r"""Returns how many frames there are of each type, in one line."""
    counts = Counter(frames.info(index).get('config_type', '')
                     for index in range(len(frames)))
    kinds = ', '.join(f'{count} {kind}' for kind, count in
                      counts.most_common())
    return (f"Pretraining on {len(frames)} frames of {title_of(calculator)} "
            f"({kinds}), in {frames.source}")


def describe_errors(trainer: Any) -> str:
    r"""Returns the errors of the best potential of a pretraining, in one line.
    """
    best = min(trainer.history, key=trainer.module.loss.score)
    units = units_of_properties(trainer.data.frames.units)
    errors = ', '.join(f'{name} MAE {best[f"{name}_mae"]:.4g} {unit}'
                       for name, unit in units.items()
                       if name in trainer.module.loss.weights)
    return (f'Pretraining took {trainer.step} steps, {trainer.seconds:.0f} s '
            f'of processor time; on frames for validation: {errors}')
