import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torch_sake.utils.files import read_arrays
from torch_sake.utils.messages import in_words, one_line
from torch_sake.utils.paths import PathLike, check_file, local_path

SPLITS = ('train', 'val', 'test')
INDEX = re.compile(r'[-+]?[0-9]{1,18}')


@dataclass(frozen=True)
class Split:
    r"""A division of frames into three sets, as indices of frames.

    Args:
        train (torch.Tensor): Indices to fit to.
        val (torch.Tensor): Indices to select a model by.
        test (torch.Tensor): Indices to measure the error on.
    """
    train: Tensor
    val: Tensor
    test: Tensor


def random_split(num_frames: int, num_train: int, num_val: int,
                 num_test: int | None = None, seed: int = 0,
                 test_start: int | None = None) -> Split:
    r"""Draws disjoint sets of frames at random.

    Args:
        num_frames (int): Number of all frames.
        num_train (int): Number of training frames.
        num_val (int): Number of validation frames.
        num_test (int, optional): Number of test frames, by default all that
            are left. (default: :obj:`None`)
        seed (int, optional): Seed of the draw. (default: :obj:`0`)
        test_start (int, optional): Index of the first frame of a pre-defined
            test set. The first :obj:`num_test` frames from there on are then
            the test set, and the other two are drawn from the frames before.
            (default: :obj:`None`)

    Raises:
        ValueError: If there are not that many frames.
    """
    num_drawn = num_frames if test_start is None else test_start
    if not 0 < num_drawn <= num_frames:
        raise ValueError(f"'test_start' must lie between 1 and "
                         f"'num_frames' = {num_frames} (got {test_start})")
    if num_train < 1 or num_val < 0 or (num_test or 0) < 0:
        raise ValueError(
            f"'num_train' must be at least 1, 'num_val' and 'num_test' at "
            f"least 0 (got {num_train}, {num_val} and {num_test})")
    num_fitted = num_train + num_val
    if num_fitted > num_drawn:
        raise ValueError(
            f"'num_train' + 'num_val' must be at most {num_drawn}, the number "
            f"of frames to draw from (got {num_train} + {num_val})")

    drawn = np.random.default_rng(seed).permutation(num_drawn)
    test = drawn[num_fitted:]
    if test_start is not None:
        test = np.arange(test_start, num_frames)
    if num_test is not None and num_test > len(test):
        raise ValueError(
            f"'num_test' must be at most {len(test)}, the number of frames "
            f"left of {num_frames} (got {num_test})")
    return Split(train=torch.from_numpy(drawn[:num_train]),
                 val=torch.from_numpy(drawn[num_train:num_fitted]),
                 test=torch.from_numpy(test[:num_test]))


def read_split(path: PathLike, num_frames: int,
               prefix: str = '') -> Split:
    r"""Reads a split from the arrays :obj:`<prefix>train`,
    :obj:`<prefix>val` and :obj:`<prefix>test` of an :obj:`.npz` file.

    Args:
        path (str or os.PathLike): The file.
        num_frames (int): Number of all frames.
        prefix (str, optional): What the names of the arrays start with.
            (default: :obj:`''`)

    Raises:
        ValueError: If the file or an array is missing, or the arrays are not
            disjoint sets of frames.
    """
    path = local_path('split', path)
    keys = [prefix + key for key in ('train', 'val', 'test')]
    arrays = read_arrays(path, keys)
    _check_indices(f"'{path}'", arrays, num_frames)
    return Split(*(torch.from_numpy(arrays[key].astype(np.int64))
                   for key in keys))


def published_split(splits: dict[str, Split], name: str, num_frames: int,
                    num_val: int, seed: int = 0) -> Split:
    r"""Returns one of the splits that data are published with. If it has no
    validation frames, they are drawn from its training frames.

    Args:
        splits (dict): The splits, by their names.
        name (str): The name.
        num_frames (int): Number of all frames.
        num_val (int): Number of validation frames to draw.
        seed (int, optional): Seed of the draw. (default: :obj:`0`)

    Raises:
        ValueError: If there is no such split, it does not consist of disjoint
            sets of frames, or has no more than :obj:`num_val` training frames.
    """
    if name not in splits:
        raise ValueError(f"'split' must be a file or one of the published "
                         f"splits {sorted(splits)} (got {name!r})")
    split = splits[name]
    _check_indices(f"Published split '{name}'", {
        key: value.numpy() for key, value in vars(split).items()}, num_frames)
    if split.val.numel() > 0:
        return split
    if not 0 <= num_val < split.train.numel():
        raise ValueError(f"'num_val' must be below {split.train.numel()}, the "
                         f"number of training frames of the published split "
                         f"'{name}' (got {num_val})")
    drawn = torch.from_numpy(
        np.random.default_rng(seed).permutation(split.train.numpy()))
    return Split(train=drawn[num_val:], val=drawn[:num_val], test=split.test)


def read_indices(path: PathLike) -> Tensor:
    r"""Reads the indices of frames from a text file, one a line.

    Raises:
        ValueError: If the file holds anything else.
    """
    path = check_file(path)
    indices = []
    try:
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                line = line.strip()
                if not line or line.startswith('#'):
                    continue
                # int() would read 1_000, and digits of other scripts.
                if not INDEX.fullmatch(line):
                    raise ValueError(f'line {number}: {in_words(line)}')
                indices.append(int(line))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' must hold one integer a line "
                         f"({one_line(str(error))})") from error
    if not indices:
        raise ValueError(f"'{path}' must hold one integer a line (got none)")
    return torch.tensor(indices)


def _check_indices(where: str, arrays: dict[str, np.ndarray],
                   num_frames: int) -> None:
    for key, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in 'iu':
            raise ValueError(f"{where}: '{key}' must be a vector of integers "
                             f"(got {array.dtype} of shape {array.shape})")
        outside = array[(array < 0) | (array >= num_frames)]
        if outside.size > 0:
            raise ValueError(f"{where}: '{key}' must hold indices of "
                             f"{num_frames} frames (got {outside[0]})")
    frames, counts = np.unique(np.concatenate(list(arrays.values())),
                               return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{where}: {list(arrays)} must be disjoint (frame "
                         f"{frames[counts > 1][0]} occurs more than once)")


def epoch_order(number: int, seed: int, epoch: int) -> Tensor:
    r"""Returns a random order of :obj:`number` frames that follows from a seed
    and the number of an epoch alone.

    Shapes:
        - **output:** indices :math:`(M)`
    """
    # The generator has 32 bits. Orders of one seed are far from those of
    # another one.
    generator = torch.Generator().manual_seed(
        (seed * 0x9E3779B1 + epoch) % 2**32)
    return torch.randperm(number, generator=generator)
