"""Files that are spoiled at random are refused in one line that names them,
or read with the numbers that they hold.

Other seeds: TORCH_SAKE_FUZZ_SEED=1 pytest tests/fuzz
"""

import io
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
import torch

from torch_sake.datasets import (load_frames, read_frames, read_split,
                                 read_trajectories)
from torch_sake.datasets.acclaim import read_motion, read_skeleton
from torch_sake.datasets.split import read_indices
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


def reference_xyz(path):
    """An independent reader of extended XYZ."""
    with open(path, encoding='utf-8') as file:
        lines = file.read().split('\n')
    frames = []
    while any(line.strip() for line in lines):
        while not lines[0].strip():
            del lines[0]
        size, comment = int(lines[0]), comment_of(lines[1])
        atoms = [line.split() for line in lines[2:2 + size]]
        del lines[:2 + size]
        columns, begin = {}, 0
        fields = comment.get('Properties', 'species:S:1:pos:R:3').split(':')
        for name, kind, width in zip(fields[::3], fields[1::3], fields[2::3]):
            columns[name] = slice(begin, begin + int(width))
            begin += int(width)

        def numbers(name):
            return np.array([[float(word) for word in atom[columns[name]]]
                             for atom in atoms])

        from ase.data import atomic_numbers
        cell = [float(x) for x in comment.get('Lattice', '0 ' * 9).split()]
        frames.append({
            'z': np.array([atomic_numbers[atom[columns['species']][0]
                                          .capitalize()] for atom in atoms]),
            'pos': numbers('pos'), 'energy': float(comment['energy']),
            'force': numbers('forces') if 'forces' in columns else None,
            'cell': np.array(cell).reshape(3, 3),
        })
    return frames


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
    def check(path):
        frames = read_frames(path)
        expected = reference(path)
        assert len(frames) == len(expected)
        for data, other in zip(frames, expected):
            for key, value in other.items():
                if key not in data:  # a cell without periodic directions
                    assert key == 'cell' or value is None, key
                    continue
                assert np.array_equal(np.ravel(data[key].numpy()),
                                      np.ravel(value)), key
    return check


def check_structure(path):
    """The last structure of a file, for simulations."""
    atoms = read_structure(path, 'checkpoint')
    expected = reference_xyz(path)[-1]
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
    def check(path, arrays):
        frames = load_frames(path)
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


def check_split(path, arrays):
    split = read_split(path, 6)
    for key, value in vars(split).items():
        assert np.array_equal(value.numpy(), arrays[key]), key


def motion_arrays():
    rng = np.random.default_rng(3)
    return {'pos': rng.normal(size=(10, 4, 3)), 'vel': rng.normal(
        size=(10, 4, 3)), 'x': rng.normal(size=(4, 2)),
        'edge_index': np.array([[0, 1, 2], [1, 2, 3]]),
        'edge_attr': rng.normal(size=(3, 2)), 'time_step': np.array(0.1)}


def check_motion(path, arrays):
    data = read_trajectories(path, split='train', horizon=1)
    several = arrays['pos'][None] if arrays['pos'].ndim == 3 else arrays['pos']
    assert np.array_equal(data._data.pos.numpy().ravel(), np.concatenate(
        [pos[:round(0.6 * len(pos)) - 1] if len(several) < 10 else pos[:-1]
         for pos in several[:len(several) if len(several) < 10 else
                            round(0.6 * len(several))]])
        .astype('float32').ravel()[:data._data.pos.numel()]) or (
            'vel' not in arrays)
    if 'x' in arrays:
        assert np.isin(data._data.x.numpy(), arrays['x'].astype('f4')).all()
    if 'edge_index' in arrays:
        assert np.array_equal(data[0].edge_index.numpy(), arrays['edge_index'])


def write_indices(path):
    with open(path, 'w') as file:
        file.write('12\n7\n345\n0\n# some\n99\n')


def check_indices(path):
    with open(path, encoding='utf-8') as file:
        words = [line.strip() for line in file]
    assert read_indices(path).tolist() == [
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


def check_settings(path):
    """Settings are those of PyYAML, which takes 1e-3 for text."""
    import yaml
    from torch_sake.cli.settings import read_settings
    from torch_sake.training import TrainConfig
    settings = read_settings(path, TrainConfig)
    with open(path, encoding='utf-8-sig') as file:
        expected = yaml.safe_load(file)
    assert settings.keys() == expected.keys()
    for key, value in settings.items():
        if isinstance(value, float):
            assert value == float(expected[key]) or math.isnan(value)
        else:
            assert value == expected[key] and (
                type(value) is type(expected[key])), key
    try:
        TrainConfig(**settings)
    except (TypeError, ValueError) as error:  # which has no file any more
        raise type(error)(f'{path}: {error}') from error


def acclaim_files(request):
    return (request.getfixturevalue('mocap') / 'raw')


def check_skeleton(path):
    skeleton = read_skeleton(path)
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


def check_amc(path):
    skeleton = read_skeleton(osp.join(osp.dirname(path), '35.asf'))
    motion = read_motion(path, skeleton)
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


TEXT_FILES = {
    'frames.extxyz': (content_of('extxyz'), check_frames(reference_xyz), 60),
    'plain.xyz': (write_plain, check_frames(reference_xyz), 30),
    'structure.extxyz': (content_of('extxyz'), check_structure, 30),
    'index.csv': (write_indices, check_indices, 25),
    'run.yaml': (write_settings, check_settings, 60),
}
BINARY_FILES = {
    'frames.db': (content_of('db'), check_frames(reference_db), 30),
    'frames.traj': (content_of('traj'), check_frames(reference_traj), 40),
}
ARRAY_FILES = {
    'sgdml.npz': (lambda: arrays_of(0), check_npz(0), 40),
    'rmd17.npz': (lambda: arrays_of(1), check_npz(1), 40),
    'split.npz': (split_arrays, check_split, 30),
    'motion.npz': (motion_arrays, check_motion, 40),
}


def cases(table):
    return [(name, index) for name, (_, _, number) in table.items()
            for index in range(number)]


def draw(name, index, kinds):
    rng = np.random.default_rng([SEED, index, zlib.crc32(name.encode())])
    return rng, kinds[rng.integers(len(kinds))]


def assert_refused_or_right(check, *args):
    """The path comes first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            check(*args)
    except (TypeError, ValueError) as error:
        message = str(error)
        assert osp.basename(args[0]) in message, message
        assert len(message.splitlines()) == 1, message
        assert len(message) < LONGEST + 2 * len(args[0]), message


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
    assert_refused_or_right(TEXT_FILES[name][1], path)


@pytest.mark.parametrize('name, index', cases(BINARY_FILES))
def test_binary_files(name, index, originals, tmp_path):
    path = str(shutil.copy(originals / name, tmp_path))
    spoil(path, name, index, MUTATIONS['BYTES'])
    assert_refused_or_right(BINARY_FILES[name][1], path)


@pytest.mark.parametrize('name, index', cases(ARRAY_FILES))
def test_array_files(name, index, tmp_path):
    path, arrays = str(tmp_path / name), ARRAY_FILES[name][0]()
    rng, mutate = draw(name, index, [*MUTATIONS['ARRAYS'],
                                     *MUTATIONS['BYTES'][:4]])
    if mutate in MUTATIONS['ARRAYS']:
        mutate(rng, arrays, rng.choice(sorted(arrays)))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    if mutate not in MUTATIONS['ARRAYS']:
        content = mutate(rng, content)
    with open(path, 'wb') as file:
        file.write(content)
    assert_refused_or_right(ARRAY_FILES[name][1], path, arrays)


@pytest.mark.parametrize('name, check', [
    ('35.asf', check_skeleton), ('35_01.amc', check_amc)])
@pytest.mark.parametrize('index', range(30))
def test_motion_files(name, check, index, mocap):
    path = str(mocap / 'raw' / name)
    spoil(path, name, index, MUTATIONS['TEXT'])
    assert_refused_or_right(check, path)


@pytest.mark.parametrize('table', [TEXT_FILES, BINARY_FILES])
def test_files_as_they_were(table, originals):
    """What is compared is not always refused."""
    for name, (_, check, _) in table.items():
        check(str(originals / name))


def test_arrays_as_they_were(tmp_path, mocap):
    for name, (make, check, _) in ARRAY_FILES.items():
        arrays = make()
        np.savez(tmp_path / name, **arrays)
        check(str(tmp_path / name), arrays)
    check_skeleton(str(mocap / 'raw' / '35.asf'))
    check_amc(str(mocap / 'raw' / '35_01.amc'))
    assert torch.is_grad_enabled()
