"""Files that are spoiled at random are refused in one line that names them,
or read with the numbers that they hold.

Other seeds: TORCH_SAKE_FUZZ_SEED=1 pytest tests/fuzz
"""

import math
import os
import os.path as osp
import re
import runpy
import shutil
import sqlite3
import warnings
import zlib

import numpy as np
import pytest

from torch_sake.datasets import (
    load_frames,
    read_frames,
    read_split,
    read_trajectories,
)
from torch_sake.datasets.frames.split import read_indices
from torch_sake.datasets.motion.acclaim import read_motion, read_skeleton
from torch_sake.simulation.structures import read_structure

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('jsonargparse')

SEED = int(os.environ.get('TORCH_SAKE_FUZZ_SEED', 0))
MUTATIONS = runpy.run_path(osp.join(osp.dirname(__file__), 'mutations.py'))
LONGEST = 700  # characters of a message, beside the path


def structures():
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    rng, frames = np.random.default_rng(1), []
    for index in range(3):
        atoms = Atoms('OHHC'[:2 + index], rng.normal(size=(2 + index, 3)),
                      cell=5 * np.eye(3) + 0.1 * rng.normal(size=(3, 3)),
                      pbc=[True, True, index != 1])
        stress = rng.normal(size=6)
        atoms.calc = SinglePointCalculator(
            atoms, energy=rng.normal(), stress=stress,
            forces=rng.normal(size=(len(atoms), 3)))
        frames.append(atoms)
    return frames


def content_of(kind):
    """What ASE writes."""
    def write(path):
        ase_io.write(path, structures(), format=kind)
    return write


def write_plain(path):
    frames = [f'{len(atoms)}\nenergy={atoms.calc.results["energy"]!r}\n'
              + ''.join(f'{symbol} {x!r} {y!r} {z!r}\n' for symbol, (x, y, z)
                        in zip(atoms.symbols, atoms.positions.tolist()))
              for atoms in structures()]
    with open(path, 'w') as file:
        file.write(''.join(frames))


def comment_of(line):
    """The keys and values of a line of an extended XYZ file."""
    return {key: quoted if quoted is not None else bare for key, quoted, bare
            in ((match[1], match[2], match[3]) for match in re.finditer(
                r'([^\s="]+)=(?:"([^"]*)"|(\S*))', line))}


def lines_of_frames(path):
    """The lines of each frame of an extended XYZ file."""
    with open(path, encoding='utf-8') as file:
        lines = file.read().split('\n')
    while any(line.strip() for line in lines):
        while not lines[0].strip():
            del lines[0]
        size = int(lines[0])
        yield lines[1:2 + size]
        del lines[:2 + size]


def parse(comment, *atoms):
    """An independent reader of a frame."""
    from ase.data import atomic_numbers
    comment, atoms = comment_of(comment), [line.split() for line in atoms]
    columns, begin = {}, 0
    fields = comment.get('Properties', 'species:S:1:pos:R:3').split(':')
    for name, width in zip(fields[::3], map(int, fields[2::3])):
        columns[name] = slice(begin, begin + width)
        begin += width

    def numbers(name):
        return np.array([[float(word) for word in atom[columns[name]]]
                         for atom in atoms])

    symbols = [atom[columns['species']][0] for atom in atoms]
    cell = [float(x) for x in comment.get('Lattice', '0 ' * 9).split()]
    return {
        'z': np.array([atomic_numbers[symbol.capitalize()]
                       for symbol in symbols]),
        'pos': numbers('pos'),
        'energy': float(comment['energy']) if 'energy' in comment else None,
        'force': numbers('forces') if 'forces' in columns else None,
        'cell': np.array(cell).reshape(3, 3),
    }


def reference_xyz(path):
    return [parse(*lines) for lines in lines_of_frames(path)]


def reference_db(path):
    """The rows of a database of ASE, by SQLite alone."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            'SELECT numbers, positions, energy, forces, cell FROM systems '
            'ORDER BY id').fetchall()
    return [{'z': np.frombuffer(z, np.int32),
             'pos': np.frombuffer(pos).reshape(-1, 3), 'energy': energy,
             'force': np.frombuffer(force).reshape(-1, 3),
             'cell': np.frombuffer(cell).reshape(3, 3)}
            for z, pos, energy, force, cell in rows]


def reference_traj(path):
    from ase.io.trajectory import TrajectoryReader
    with TrajectoryReader(path) as reader:
        return [{'z': atoms.numbers, 'pos': atoms.positions,
                 'energy': atoms.calc.results['energy'],
                 'force': atoms.calc.results.get('forces'),
                 'cell': atoms.cell.array} for atoms in reader]


def check_frames(reference):
    def check(frames, path):
        expected = reference(path)
        assert len(frames) == len(expected)
        for data, other in zip(frames, expected):
            for key, value in other.items():
                if key not in data:  # a cell without periodic directions
                    assert key == 'cell' or value is None, key
                    continue
                if value is None:  # not known of this frame
                    assert data[key].isnan().all()
                    continue
                assert np.array_equal(np.ravel(data[key].numpy()),
                                      np.ravel(value)), key
    return check


def last_structure(path):
    return read_structure(path, 'checkpoint')


def check_structure(atoms, path):
    expected = parse(*list(lines_of_frames(path))[-1])
    assert np.array_equal(atoms.numbers, expected['z'])
    assert np.array_equal(atoms.positions, expected['pos'])


LAYOUTS = (('z', 'R', 'E', 'F'),
           ('nuclear_charges', 'coords', 'energies', 'forces'))


def arrays_of(layout):
    rng = np.random.default_rng(2)
    return dict(zip(LAYOUTS[layout], (
        np.array([8, 1, 1]), rng.normal(size=(4, 3, 3)), rng.normal(size=4),
        rng.normal(size=(4, 3, 3)))))


def check_npz(layout):
    def check(frames, arrays):
        z, pos, energy, force = (arrays[key] for key in LAYOUTS[layout])
        assert len(frames) == len(energy)
        for index, data in enumerate(frames):
            assert np.array_equal(data.z.numpy(), z)
            assert np.array_equal(data.pos.numpy(), pos[index])
            assert data.energy.item() == energy.ravel()[index]
            assert np.array_equal(data.force.numpy(), force[index])
    return check


def split_arrays():
    return {'train': np.array([3, 1, 5]), 'val': np.array([0]),
            'test': np.array([2, 4])}


def six_frames(path):
    return read_split(path, 6)


def check_split(split, arrays):
    for key, value in vars(split).items():
        assert np.array_equal(value.numpy(), arrays[key]), key


def motion_arrays():
    rng = np.random.default_rng(3)
    return {'pos': rng.normal(size=(10, 4, 3)), 'vel': rng.normal(
        size=(10, 4, 3)), 'x': rng.normal(size=(4, 2)),
        'edge_index': np.array([[0, 1, 2], [1, 2, 3]]),
        'edge_attr': rng.normal(size=(3, 2)), 'time_step': np.array(0.1)}


def next_frame(path):
    return read_trajectories(path, split='train', horizon=1)


def check_motion(data, arrays):
    # Of ten frames the first six, each with the next one as its target:
    pos = arrays['pos'].reshape(-1, *arrays['pos'].shape[-2:])
    if len(pos) == 10:
        begin = int('vel' not in arrays)  # a difference to the frame before
        for key, first in (('pos', begin), ('y', begin + 1)):
            frames = pos[first:first + 5 - begin].astype('f4')
            assert np.array_equal(data._data[key].numpy(),
                                  frames.reshape(-1, frames.shape[-1]))
    if 'x' in arrays:
        assert np.isin(data._data.x.numpy(), arrays['x'].astype('f4')).all()
    if 'edge_index' in arrays:
        assert np.array_equal(data[0].edge_index.numpy(), arrays['edge_index'])


def write_indices(path):
    with open(path, 'w') as file:
        file.write('12\n7\n345\n0\n# some\n99\n')


def check_indices(indices, path):
    with open(path, encoding='utf-8') as file:
        words = [line.strip() for line in file]
    assert indices.tolist() == [
        int(word) for word in words if word and not word.startswith('#')]


SETTINGS = """data: xtb:ethanol  # a molecule
root: null
num_train: 950
hidden_channels: 32
cutoff: 5.0
learning_rate: 1e-3
warmup: 0.02
zbl: yes
update_pos: false
loss: norm
out: 'runs/010'
ema_decay: .99
seed: 0
precision: float32
"""


def write_settings(path):
    with open(path, 'w') as file:
        file.write(SETTINGS)


def settings_of(path):
    from torch_sake.cli.settings import read_settings
    from torch_sake.training import TrainConfig
    settings = read_settings(path, TrainConfig)
    try:
        TrainConfig(**settings)
    except (TypeError, ValueError) as error:  # which has no file any more
        raise type(error)(f'{path}: {error}') from error
    return settings


def check_settings(settings, path):
    """Settings are those of PyYAML, which takes 1e-3 for text."""
    import yaml
    with open(path, encoding='utf-8-sig') as file:
        expected = yaml.safe_load(file)
    assert settings.keys() == expected.keys()
    for key, value in settings.items():
        if isinstance(value, float):
            assert value == float(expected[key]) or math.isnan(value)
        else:
            assert value == expected[key] and (
                type(value) is type(expected[key])), key


def check_skeleton(skeleton, path):
    with open(path, encoding='ascii') as file:
        words = [line.split() for line in file]
    lengths = [float(line[1]) for line in words if line[:1] == ['length']]
    directions = [[float(word) for word in line[1:]] for line in words
                  if line[:1] == ['direction']]
    if len(lengths) == len(skeleton.bones) - 1 == len(directions):
        for bone, length, direction in zip(skeleton.bones[1:], lengths,
                                           directions):
            assert bone.offset == [length * x for x in direction]
    assert all(math.isfinite(x) for bone in skeleton.bones
               for x in (*bone.offset, *bone.axis))


def motion_of(path):
    skeleton = read_skeleton(osp.join(osp.dirname(path), '35.asf'))
    return skeleton, read_motion(path, skeleton)


def check_amc(result, path):
    skeleton, motion = result
    rows = {}
    with open(path, encoding='ascii') as file:
        frames = [line.split() for line in file
                  if line.strip() and line.strip()[0] not in '#:']
    for words in frames:
        if len(words) == 1:
            number = int(words[0])
        else:
            rows[number, words[0]] = [float(word) for word in words[1:]]
    for index, values in enumerate(motion.values):
        number = motion.first_frame + index
        assert values.tolist() == [
            x for bone in skeleton.bones if bone.channels
            for x in rows[number, bone.name]]


# How files are written, read and compared, and the number of cases:
TEXT_FILES = {
    'frames.extxyz': (content_of('extxyz'), read_frames,
                      check_frames(reference_xyz), 60),
    'plain.xyz': (write_plain, read_frames, check_frames(reference_xyz), 30),
    'structure.extxyz': (content_of('extxyz'), last_structure,
                         check_structure, 30),
    'index.csv': (write_indices, read_indices, check_indices, 25),
    'run.yaml': (write_settings, settings_of, check_settings, 60),
}
BINARY_FILES = {
    'frames.db': (content_of('db'), read_frames, check_frames(reference_db),
                  30),
    'frames.traj': (content_of('traj'), read_frames,
                    check_frames(reference_traj), 40),
}
ARRAY_FILES = {
    'sgdml.npz': (lambda: arrays_of(0), load_frames, check_npz(0), 40),
    'rmd17.npz': (lambda: arrays_of(1), load_frames, check_npz(1), 40),
    'split.npz': (split_arrays, six_frames, check_split, 30),
    'motion.npz': (motion_arrays, next_frame, check_motion, 40),
}
MOTION_FILES = {'35.asf': (read_skeleton, check_skeleton),
                '35_01.amc': (motion_of, check_amc)}


def cases(table):
    return [(name, index) for name, (*_, number) in table.items()
            for index in range(number)]


def draw(name, index, kinds):
    rng = np.random.default_rng([SEED, index, zlib.crc32(name.encode())])
    return rng, kinds[rng.integers(len(kinds))]


def assert_refused_or_right(path, read, check, truth):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            result = read(path)
    except (TypeError, ValueError) as error:
        message = str(error)
        assert osp.basename(path) in message, message
        assert len(message.splitlines()) == 1, message
        assert len(message) < LONGEST + 2 * len(path), message
    else:
        check(result, truth)


def spoil(path, name, index, kinds):
    rng, mutate = draw(name, index, kinds)
    with open(path, 'rb') as file:
        content = file.read()
    with open(path, 'wb') as file:
        file.write(mutate(rng, content))


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
    """The files as they were."""
    folder = tmp_path_factory.mktemp('originals')
    for name, (write, *_) in {**TEXT_FILES, **BINARY_FILES}.items():
        write(str(folder / name))
    return folder


@pytest.mark.parametrize('name, index', cases(TEXT_FILES))
def test_text_files(name, index, originals, tmp_path):
    path = str(shutil.copy(originals / name, tmp_path))
    spoil(path, name, index, MUTATIONS['TEXT'])
    assert_refused_or_right(path, *TEXT_FILES[name][1:3], path)


@pytest.mark.parametrize('name, index', cases(BINARY_FILES))
def test_binary_files(name, index, originals, tmp_path):
    path = str(shutil.copy(originals / name, tmp_path))
    spoil(path, name, index, MUTATIONS['BYTES'])
    assert_refused_or_right(path, *BINARY_FILES[name][1:3], path)


@pytest.mark.parametrize('name, index', cases(ARRAY_FILES))
def test_array_files(name, index, tmp_path):
    make, read, check, _ = ARRAY_FILES[name]
    path, arrays = str(tmp_path / name), make()
    rng, mutate = draw(name, index, [*MUTATIONS['ARRAYS'],
                                     *MUTATIONS['BYTES'][:4]])
    in_arrays = mutate in MUTATIONS['ARRAYS']
    if in_arrays:
        mutate(rng, arrays, rng.choice(sorted(arrays)))
    np.savez(path, **arrays)
    if not in_arrays:
        with open(path, 'rb+') as file:
            content = mutate(rng, file.read())
            file.seek(0)
            file.truncate()
            file.write(content)
    assert_refused_or_right(path, read, check, arrays)


@pytest.mark.parametrize('name', MOTION_FILES)
@pytest.mark.parametrize('index', range(30))
def test_motion_files(name, index, mocap):
    path = str(mocap / 'raw' / name)
    spoil(path, name, index, MUTATIONS['TEXT'])
    assert_refused_or_right(path, *MOTION_FILES[name], path)


def test_files_as_they_were(originals, mocap, tmp_path):
    """Not all is refused, and what is read is compared."""
    for name, (_, read, check, _) in {**TEXT_FILES, **BINARY_FILES}.items():
        path = str(originals / name)
        check(read(path), path)
    for name, (make, read, check, _) in ARRAY_FILES.items():
        np.savez(tmp_path / name, **make())
        check(read(str(tmp_path / name)), make())
    for name, (read, check) in MOTION_FILES.items():
        path = str(mocap / 'raw' / name)
        check(read(path), path)
