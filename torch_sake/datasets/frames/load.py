from pkgutil import resolve_name
from typing import Any

from torch_sake.datasets.frames.ase_file import read_frames
from torch_sake.datasets.frames.file_format import find_format
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.npz_file import npz_frames
from torch_sake.datasets.frames.on_disk import FramesOnDisk
from torch_sake.utils.inputs import FRAMES, check_data, find_data_set
from torch_sake.utils.paths import PathLike, local_path

AnyFrames = Frames | FramesOnDisk


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
        data (str or os.PathLike): A name as above (:obj:`'rmd17:NAME'` is a
            revised trajectory) or a file: one of
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
    data_set, name = find_data_set(data)
    generated = data_set is not None and data_set.generated
    if options and not generated:
        names = [key for key, found in FRAMES.items() if found.generated]
        raise TypeError(f"{sorted(options)} are options of {names} only "
                        f"(got data={data!r})")
    check_data(data, root)
    if data_set is not None:
        read = resolve_name(data_set.reader)
        return (read(*name, root=root, seed=seed, **options) if generated else
                read(root, *name))
    if find_format(data) is not None:
        return FramesOnDisk(data)
    return (npz_frames if data.endswith('.npz') else read_frames)(data)


def load_config_frames(config: dict[str, Any]) -> AnyFrames:
    r"""Returns the frames of a configuration, as a dictionary."""
    options = {}
    if config['num_frames'] is not None:
        options['num_frames'] = config['num_frames']
    return load_frames(config['data'], root=config['root'],
                       seed=config['data_seed'], **options)
