from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from torch_sake.datasets.frames.ase_file import ase_blocks
from torch_sake.datasets.frames.config import label_options
from torch_sake.datasets.frames.file_format import find_format
from torch_sake.datasets.frames.joined_frames import (
    AnyFrames,
    assign_frames,
    join_frames,
)
from torch_sake.datasets.frames.label_keys import LabelKeys
from torch_sake.datasets.frames.npz_file import npz_frames
from torch_sake.datasets.frames.on_disk import FramesOnDisk
from torch_sake.utils.inputs import FRAMES, check_data, find_data_set
from torch_sake.utils.paths import PathLike, local_path, local_paths
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
        labels = dict(energy_key=energy_key, forces_key=forces_key,
                      stress_key=stress_key, virial_key=virial_key,
                      units=units, length_unit=length_unit)
        return join_frames([
            load_frames(one, root, seed, **options_of(one, data, labels,
                                                      options))
            for one in data])
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


def options_of(one: PathLike, data: Sequence[PathLike],
               labels: dict[str, Any],
               options: dict[str, Any]) -> dict[str, Any]:
    r"""Returns the options of one of several sources: those that generated
    frames have, and names of labels and units, are for these alone that take
    them, if there are some.
    """
    named = [other for other in data if is_named(other)]
    generated = [other for other in data if is_generated(other)]
    return {**({} if one in named and len(named) < len(data) else labels),
            **({} if generated and one not in generated else options)}


def is_named(data: PathLike) -> bool:
    r"""Whether a source is a data set, whose labels are known."""
    return find_data_set(local_path('data', data))[0] is not None


def is_generated(data: PathLike) -> bool:
    r"""Whether frames of this name are generated."""
    data_set, _ = find_data_set(local_path('data', data))
    return data_set is not None and data_set.generated


def load_config_frames(config: dict[str, Any],
                       units: dict[str, str] | None = None,
                       frames: AnyFrames | None = None) -> AnyFrames:
    r"""Returns the frames of a configuration, as a dictionary: those of
    :obj:`data`, or the given ones in their place, and behind them those of
    :obj:`val` and :obj:`test`, if there are some. All are in the given units;
    without these, they are converted to those of ASE if the configuration says
    what units they are in.
    """
    labels, options = label_options(config), {}
    if units is None and (labels['units'] or labels['length_unit']):
        units = ASE_UNITS
    if config['num_frames'] is not None:
        options['num_frames'] = config['num_frames']

    def load(name: str) -> AnyFrames:
        sources = local_paths(name, config[name])
        loaded = [load_frames(one, config['root'], config['data_seed'],
                              **options_of(one, sources, labels, options))
                  for one in sources]
        return join_frames(loaded if units is None else [
            one.in_units(units) for one in loaded])

    if frames is None:
        frames = load('data')
    return assign_frames(frames, {
        name: load(name) for name in ('val', 'test')
        if config.get(name) is not None})
