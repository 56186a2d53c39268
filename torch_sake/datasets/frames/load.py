from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from torch_sake.datasets.frames.ase_file import ase_blocks
from torch_sake.datasets.frames.config import LABEL_OPTIONS, label_options
from torch_sake.datasets.frames.file_format import find_format
from torch_sake.datasets.frames.joined_frames import (
    AnyFrames,
    assign_frames,
    join_frames,
)
from torch_sake.datasets.frames.label_keys import LabelKeys
from torch_sake.datasets.frames.label_reader import NoSuchLabel
from torch_sake.datasets.frames.npz_file import npz_frames
from torch_sake.datasets.frames.on_disk import FramesOnDisk
from torch_sake.utils.inputs import FRAMES, check_data, find_data_set
from torch_sake.utils.paths import PathLike, local_path, local_paths
from torch_sake.utils.plain_checks import to_list
from torch_sake.utils.units import ASE_UNITS, check_given_units, given_units


def load_frames(data: PathLike | Sequence[PathLike],
                root: PathLike | None = None, seed: int = 0,
                *, energy_key: str | None = None,
                forces_key: str | None = None, stress_key: str | None = None,
                virial_key: str | None = None, units: str | None = None,
                length_unit: str | None = None, **options: Any) -> AnyFrames:
    r"""Loads labeled structures by a short name.

    .. code-block:: python

        load_frames('xtb:ethanol')                        # xtb_frames
        load_frames('md17:aspirin', root='data')          # md17_frames
        load_frames('rmd17:aspirin', root='data')         # md17_frames
        load_frames('md22:stachyose', root='data')        # md22_frames
        load_frames('qm9:homo', root='data/qm9')          # qm9_frames
        load_frames('iso17', root='data')                 # ISO17
        load_frames('molecules.xyz', energy_key='E')      # read_frames
        load_frames('trajectory.npz')                     # arrays of MD17
        load_frames('molecules.frames')                   # FramesOnDisk
        load_frames(['a.xyz', 'b.frames'])                # JoinedFrames

    Args:
        data (str or os.PathLike or list): A name as above
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
        energy_key (str, optional): What energies are called in the file, see
            :func:`~torch_sake.datasets.read_frames`; in an :obj:`.npz` file,
            an array. The other keys are alike. (default: :obj:`None`)
        forces_key (str, optional): What forces are called.
            (default: :obj:`None`)
        stress_key (str, optional): What stresses are called.
            (default: :obj:`None`)
        virial_key (str, optional): What virials are called.
            (default: :obj:`None`)
        units (str, optional): The unit of energies in the file, if it is
            another than eV, or kcal/mol in an :obj:`.npz` file: :obj:`"eV"`,
            :obj:`"meV"`, :obj:`"kcal/mol"`, :obj:`"kJ/mol"`,
            :obj:`"Hartree"` or :obj:`"Rydberg"`. Numbers are kept as they
            are: :obj:`frames.in_units(...)` converts. (default: :obj:`None`)
        length_unit (str, optional): The unit of lengths in the file, if it is
            another than Angstrom: :obj:`"Angstrom"`, :obj:`"Bohr"` or
            :obj:`"nm"`. (default: :obj:`None`)
        **options (optional): Further arguments of
            :meth:`~torch_sake.datasets.xtb_frames`.

    Raises:
        TypeError: If options are given for data that are not generated.
        ValueError: If :obj:`data` is none of these, or an address, names of
            labels are given for data that have none, or units are not those
            that the data are known to be in.
    """
    if isinstance(data, (list, tuple)):
        local_paths('data', data)
        options.update(energy_key=energy_key, forces_key=forces_key,
                       stress_key=stress_key, virial_key=virial_key,
                       units=units, length_unit=length_unit)
        return join_frames([
            load_one_of(data, one, root, seed, options) for one in data])
    data = local_path('data', data)
    given = given_units(units, length_unit)
    keys = LabelKeys(energy_key, forces_key, stress_key, virial_key)
    data_set, name = find_data_set(data)
    generated = data_set is not None and data_set.generated
    if options and not generated:
        names = [key for key, found in FRAMES.items() if found.generated]
        raise TypeError(f"{sorted(options)} are options of {names} only "
                        f"(got data={data!r})")
    check_data(data, root)
    if data_set is None and find_format(data) is None:
        if data.endswith('.npz'):
            return npz_frames(data, given, keys)
        return next(ase_blocks(data, None, given, keys))
    for key, value in keys.given():
        raise ValueError(f"'{key}' must not be given for {data!r}, whose "
                         f"labels are known (got {value!r})")
    frames: AnyFrames
    if data_set is None:
        frames = FramesOnDisk(data)
    else:
        read = resolve_name(data_set.reader)
        frames = (read(*name, root=root, seed=seed, **options) if generated
                  else read(root, *name))
    if given:
        check_given_units(f"'{data}'", given, frames.units)
    return frames


def load_one_of(every: Sequence[PathLike], one: PathLike,
                root: PathLike | None, seed: int,
                options: dict[str, Any]) -> AnyFrames:
    r"""Returns the frames of one of several sources, see
    :func:`options_of`.
    """
    try:
        return load_frames(one, root, seed, **options_of(one, every, options))
    except NoSuchLabel as error:
        if len(every) == 1:
            raise
        raise ValueError(
            f"{error}. Names of labels are those of all files: rename "
            f"labels with ASE, or convert each file by itself (torch-sake "
            f"convert --data {one} --out NAME.frames --{error.argument} NAME) "
            f"and give the .frames files together") from error


def options_of(one: PathLike, data: Sequence[PathLike],
               options: dict[str, Any]) -> dict[str, Any]:
    r"""Returns the options of one of several sources: each is for those of its
    kind alone, if there are some.
    """
    return {key: value for key, value in options.items()
            if takes(one, key) or not any(takes(other, key)
                                          for other in data)}


def takes(data: PathLike, option: str) -> bool:
    r"""Whether data may have an option of :func:`load_frames`: labels and
    units are those of files, all others those of generated frames.
    """
    path = local_path('data', data)
    data_set, _ = find_data_set(path)
    if option in LABEL_OPTIONS:
        return data_set is None and find_format(path) is None
    return data_set is not None and data_set.generated


def load_config_frames(config: dict[str, Any],
                       units: dict[str, str] | None = None,
                       frames: AnyFrames | None = None) -> AnyFrames:
    r"""Returns the frames of a configuration, as a dictionary: those of
    :obj:`data`, or the given ones in their place, and behind them those of
    :obj:`val` and :obj:`test`, if there are some.

    They are in the given units. Without these, they are converted to those of
    ASE if the configuration says what units they are in.
    """
    options = label_options(config)
    if units is None and (options['units'] or options['length_unit']):
        units = ASE_UNITS
    if config['num_frames'] is not None:
        options['num_frames'] = config['num_frames']
    sources = {name: to_list(name, config[name])
               for name in ('data', 'val', 'test')
               if config.get(name) is not None}
    if frames is not None:
        del sources['data']
    every = [one for part in sources.values() for one in part]
    parts = {}
    for name, part in sources.items():
        loaded = [load_one_of(every, one, config['root'],
                              config['data_seed'], options) for one in part]
        parts[name] = join_frames([one if units is None else
                                   one.in_units(units) for one in loaded])
    if frames is None:
        frames = parts.pop('data')
    return assign_frames(frames, parts)
