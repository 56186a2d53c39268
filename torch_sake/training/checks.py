r"""What is said of the parts of a split before a run."""

import warnings

from torch import Tensor

from torch_sake.datasets import Split
from torch_sake.datasets.frames.duplicates import (
    match_keys,
    same_structure,
    structure_keys,
)
from torch_sake.datasets.frames.label_guesses import names_in
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.utils.plain_checks import require

# Of each part, which are compared within a second; others are skipped, evenly:
MAX_ATOMS, MAX_READ = 1_000_000, 2000
MAX_PAIRS = 1000  # that are looked at closely


def known_labels(frames: AnyFrames) -> list[str]:
    r"""Returns the labels that any of the frames have."""
    names = [frames.label, *(['force'] if frames.has_forces else []),
             *(['stress'] if frames.has_stress else [])]
    return [name for name in names if bool(frames.known(name).any())]


def check_labels(frames: AnyFrames, split: Split) -> list[str]:
    r"""Returns the labels that training frames have. Those for validation must
    have one of them, and there is a warning if they lack forces.
    """
    train, val = (known_labels(frames[part])
                  for part in (split.train, split.val))
    if not train:
        there = names_in(*frames.origin(int(split.train[0])))
        raise ValueError(f"The training frames must have labels (there are "
                         f"none in {frames.source}: see 'energy_key'"
                         + (f'; a frame has {there})' if there else ')'))
    require({*train} & {*val},
            f"The validation frames must have labels that the training frames "
            f"have, of {train} (got {split.val.numel()} frames with "
            f"{val or 'none'})")
    if 'force' in train and 'force' not in val:
        warnings.warn('The validation frames have no forces: the best weights '
                      'will be those of the best energies')
    return train


def warn_of_shared_frames(frames: AnyFrames, split: Split) -> None:
    r"""Warns if frames for validation or testing are training frames, too:
    the same atoms at the same places. Of many, some are compared.
    """
    train = some_of(frames, split.train)
    keys = structure_keys(frames[train])
    counts, pairs = {}, []
    for name in ('val', 'test'):
        others = some_of(frames, getattr(split, name))
        twin = match_keys(keys, structure_keys(frames[others]))
        found = (twin >= 0).nonzero().flatten()
        same = [(int(others[row]), int(train[twin[row]]))
                for row in found[:MAX_PAIRS].tolist()]
        same = [(one, other) for one, other in same
                if same_structure(frames[one], frames[other])]
        pairs += same
        if same:
            skipped = len(others) < getattr(split, name).numel() or (
                len(found) > MAX_PAIRS or len(train) < split.train.numel())
            counts[name] = ('at least ' if skipped else '') + str(len(same))
    if pairs:
        one, other = (frames.where(index) for index in pairs[0])
        which = ' and '.join(f"{count} of '{name}'"
                             for name, count in counts.items())
        warnings.warn(f'Of the frames to validate and test on, {which} are '
                      f'training frames, too: {one} is {other}')


def some_of(frames: AnyFrames, indices: Tensor) -> Tensor:
    r"""Returns as many of the frames, ascending, as can be compared soon."""
    indices = indices.sort().values
    if not frames.is_in_memory:
        number = MAX_READ
    elif indices.numel() == 0:
        return indices
    else:
        number = MAX_ATOMS // int(frames.num_atoms[indices].double().mean()
                                  .ceil()) + 1
    return indices[::-(-indices.numel() // number) or 1]
