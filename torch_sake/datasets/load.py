import os
import os.path as osp
from typing import Any, Optional

from torch_sake.datasets.ase_file import read_frames
from torch_sake.datasets.frames import Frames
from torch_sake.datasets.md17 import md17_frames
from torch_sake.datasets.qm9 import qm9_frames
from torch_sake.datasets.xtb import xtb_frames
from torch_sake.files import PathLike

READERS = {'md17': md17_frames, 'qm9': qm9_frames}


def load_frames(data: PathLike, root: Optional[PathLike] = None,
                seed: int = 0, **options: Any) -> Frames:
    r"""Loads labeled structures by a short name.

    .. code-block:: python

        load_frames('xtb:ethanol')                        # xtb_frames
        load_frames('md17:revised aspirin', root='data')  # md17_frames
        load_frames('qm9:homo', root='data/qm9')          # qm9_frames
        load_frames('molecules.xyz')                      # read_frames

    Args:
        data (str or os.PathLike): :obj:`'xtb:NAME'`, :obj:`'md17:NAME'`,
            :obj:`'qm9:TARGET'` or a file.
        root (str or os.PathLike, optional): Folder of the MD17 or QM9 files
            or, for :obj:`'xtb:NAME'`, of the generated ones. A file has its
            own. (default: :obj:`None`)
        seed (int, optional): Seed of frames that are generated.
            (default: :obj:`0`)
        **options (optional): Further arguments of
            :meth:`~torch_sake.datasets.xtb_frames`.

    Raises:
        TypeError: If options are given for data that are not generated.
        ValueError: If :obj:`data` is none of the four.
    """
    data = os.fspath(data)
    kind, _, name = data.partition(':')
    if kind == 'xtb' and name:
        return xtb_frames(name, seed=seed, root=root, **options)
    if options:
        raise TypeError(f"{sorted(options)} are options of 'xtb:NAME' only "
                        f"(got data={data!r})")
    if kind in READERS and name:
        if root is None:
            raise ValueError(f"'root', the folder of the files, must be given "
                             f"for {data!r}")
        return READERS[kind](root, name)
    if osp.isfile(osp.expanduser(data)):
        return read_frames(data)
    raise ValueError(f"'data' must be 'xtb:NAME' (a molecule to generate), "
                     f"'md17:NAME' (a trajectory of MD17), 'qm9:TARGET' (a "
                     f"target of QM9) or an existing file (got {data!r})")
