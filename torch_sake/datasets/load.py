import os
import os.path as osp
from typing import Any, Optional, Union

from torch_sake.datasets.ase_file import read_frames
from torch_sake.datasets.frames import Frames
from torch_sake.datasets.frames_on_disk import FramesOnDisk, is_frames_on_disk
from torch_sake.datasets.md17 import md17_frames
from torch_sake.datasets.xtb import xtb_frames
from torch_sake.files import PathLike

AnyFrames = Union[Frames, FramesOnDisk]


def load_frames(data: PathLike, root: Optional[PathLike] = None, seed: int = 0,
                **options: Any) -> AnyFrames:
    r"""Loads labeled structures by a short name.

    .. code-block:: python

        load_frames('xtb:ethanol')                        # xtb_frames
        load_frames('md17:revised aspirin', root='data')  # md17_frames
        load_frames('molecules.xyz')                      # read_frames
        load_frames('molecules.frames')                   # FramesOnDisk

    Args:
        data (str or os.PathLike): :obj:`'xtb:NAME'`, :obj:`'md17:NAME'` or a
            file, one of :func:`~torch_sake.datasets.convert_frames` or any
            that ASE reads.
        root (str or os.PathLike, optional): Folder of the MD17 files or, for
            :obj:`'xtb:NAME'`, of the generated ones. A file has its own.
            (default: :obj:`None`)
        seed (int, optional): Seed of frames that are generated.
            (default: :obj:`0`)
        **options (optional): Further arguments of
            :meth:`~torch_sake.datasets.xtb_frames`.

    Raises:
        TypeError: If options are given for data that are not generated.
        ValueError: If :obj:`data` is none of the three.
    """
    data = os.fspath(data)
    kind, _, name = data.partition(':')
    if kind == 'xtb' and name:
        return xtb_frames(name, seed=seed, root=root, **options)
    if options:
        raise TypeError(f"{sorted(options)} are options of 'xtb:NAME' only "
                        f"(got data={data!r})")
    if kind == 'md17' and name:
        if root is None:
            raise ValueError(f"'root', the folder of the MD17 files, must be "
                             f"given for {data!r}")
        return md17_frames(root, name)
    if is_frames_on_disk(data):
        return FramesOnDisk(data)
    if osp.isfile(osp.expanduser(data)):
        return read_frames(data)
    raise ValueError(f"'data' must be 'xtb:NAME' (a molecule to generate), "
                     f"'md17:NAME' (a trajectory of MD17) or an existing file "
                     f"(got {data!r})")
