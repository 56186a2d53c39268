from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from torch_sake.datasets.frames.ase_file import read_frames
from torch_sake.datasets.frames.file_format import find_format
from torch_sake.datasets.frames.joined_frames import (
    AnyFrames,
    assign_frames,
    join_frames,
)
from torch_sake.datasets.frames.npz_file import npz_frames
from torch_sake.datasets.frames.on_disk import FramesOnDisk
from torch_sake.utils.inputs import FRAMES, check_data, find_data_set
from torch_sake.utils.paths import PathLike, local_path, local_paths


def load_frames(data: PathLike | Sequence[PathLike],
                root: PathLike | None = None, seed: int = 0,
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
        load_frames(['a.xyz', 'b.frames'])                # JoinedFrames

    Args:
        data (str, os.PathLike or list of them): A name as above
            (:obj:`'rmd17:NAME'` is a revised trajectory) or a file: one of
            :func:`~torch_sake.datasets.convert_frames`, an :obj:`.npz` file
            with the arrays of MD17 (in the units that it declares, or else in
            kcal/mol and Angstrom) or any that ASE reads. The frames of
            several follow each other.
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
    if isinstance(data, (list, tuple)):
        local_paths('data', data)
        return join_frames([
            load_frames(one, root, seed, **options_of(one, data, options))
            for one in data])
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


def options_of(one: PathLike, data: Sequence[PathLike],
               options: dict[str, Any]) -> dict[str, Any]:
    r"""Returns the options of one of several sources: those that generated
    frames have are for these alone, if there are some.
    """
    generated = [other for other in data if is_generated(other)]
    return {} if generated and one not in generated else options


def is_generated(data: PathLike) -> bool:
    r"""Whether frames of this name are generated."""
    data_set, _ = find_data_set(local_path('data', data))
    return data_set is not None and data_set.generated


def load_config_frames(config: dict[str, Any],
                       frames: AnyFrames | None = None) -> AnyFrames:
    r"""Returns the frames of a configuration, as a dictionary: those of
    :obj:`data`, or the given ones in their place, and behind them those of
    :obj:`val` and :obj:`test`, if there are some.
    """
    given: dict[str, Any] = {'root': config['root'],
                             'seed': config['data_seed']}
    options = {}
    if config['num_frames'] is not None:
        options['num_frames'] = config['num_frames']
    if frames is None:
        frames = load_frames(config['data'], **given, **options)
    parts = {}
    for name in ('val', 'test'):
        if config.get(name) is not None:
            sources = local_paths(name, config[name])
            parts[name] = join_frames([
                load_frames(one, **given, **(
                    options if is_generated(one) else {}))
                for one in sources])
    return assign_frames(frames, parts)
