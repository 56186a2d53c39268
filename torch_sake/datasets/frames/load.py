from typing import Any

from torch_sake.datasets.frames.ase_file import read_frames
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.iso17 import ISO17
from torch_sake.datasets.frames.md17 import md17_frames, md22_frames
from torch_sake.datasets.frames.npz_file import npz_frames
from torch_sake.datasets.frames.on_disk import FramesOnDisk, is_frames_on_disk
from torch_sake.datasets.frames.qm9 import qm9_frames
from torch_sake.datasets.frames.xtb import xtb_frames
from torch_sake.utils.files import PathLike, local_path
from torch_sake.utils.inputs import check_data

AnyFrames = Frames | FramesOnDisk
# Trajectories of molecules and targets, by their names:
COLLECTIONS = {
    'md17': md17_frames,
    'rmd17': lambda root, name: md17_frames(root, f'revised {name}'),
    'md22': md22_frames,
    'qm9': qm9_frames,
}


def load_frames(data: PathLike, root: PathLike | None = None, seed: int = 0,
                **options: Any) -> AnyFrames:
    r"""Loads labeled structures by a short name.

    .. code-block:: python

        load_frames('xtb:ethanol')                        # xtb_frames
        load_frames('md17:aspirin', root='data')          # md17_frames
        load_frames('rmd17:aspirin', root='data')         # md17_frames
        load_frames('md22:stachyose', root='data')        # md22_frames
        load_frames('qm9:homo', root='data/qm9')          # qm9_frames
        load_frames('iso17', root='data')                 # ISO17
        load_frames('molecules.xyz')                      # read_frames
        load_frames('trajectory.npz')                     # arrays of MD17
        load_frames('molecules.frames')                   # FramesOnDisk

    Args:
        data (str or os.PathLike): :obj:`'xtb:NAME'`, :obj:`'md17:NAME'`,
            :obj:`'rmd17:NAME'` (the revised trajectory), :obj:`'md22:NAME'`,
            :obj:`'qm9:TARGET'`, :obj:`'iso17'` or a file: one of
            :func:`~torch_sake.datasets.convert_frames`, an :obj:`.npz` file
            with the arrays of MD17 (in the units that it declares, or else in
            kcal/mol and Angstrom) or any that ASE reads.
        root (str or os.PathLike, optional): Folder of the files of the data
            set or, for :obj:`'xtb:NAME'`, of the generated ones. A file has
            its own. (default: :obj:`None`)
        seed (int, optional): Seed of frames that are generated.
            (default: :obj:`0`)
        **options (optional): Further arguments of
            :meth:`~torch_sake.datasets.xtb_frames`.

    Raises:
        TypeError: If options are given for data that are not generated.
        ValueError: If :obj:`data` is none of these, or an address.
    """
    data = local_path('data', data)
    kind, _, name = data.partition(':')
    if kind == 'xtb' and name:
        return xtb_frames(name, seed=seed, root=root, **options)
    if options:
        raise TypeError(f"{sorted(options)} are options of 'xtb:NAME' only "
                        f"(got data={data!r})")
    check_data(data, root)
    if data == 'iso17':
        return ISO17(root)
    if kind in COLLECTIONS and name:
        return COLLECTIONS[kind](root, name)
    if is_frames_on_disk(data):
        return FramesOnDisk(data)
    return (npz_frames if data.endswith('.npz') else read_frames)(data)


def load_config_frames(config: dict[str, Any]) -> AnyFrames:
    r"""Returns the frames of a configuration, as a dictionary."""
    options = {}
    if config['num_frames'] is not None:
        options['num_frames'] = config['num_frames']
    return load_frames(config['data'], root=config['root'],
                       seed=config['data_seed'], **options)
