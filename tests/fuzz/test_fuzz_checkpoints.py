"""Checkpoints and files of frames that are damaged, or written by somebody
else: each is refused in one line that names it, or read with the numbers it
had. Another seed searches on: TORCH_SAKE_FUZZ_SEED."""

import copy
import json
import math
import os
import random
import sqlite3
import warnings
from dataclasses import replace

import numpy
import pytest
import torch

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import Frames, FramesOnDisk, write_frames
from torch_sake.datasets.frames.file_format import (
    ARRAYS,
    COLUMNS,
    FORMAT,
    digest_of_all,
    row_digest,
)
from torch_sake.utils.fingerprint import digest
from torch_sake.utils.inputs import BEST, LAST

pytest.importorskip('pytorch_lightning')
from safetensors.torch import save

from torch_sake.runs.checkpoint_io import SafetensorsIO
from torch_sake.training import TrainConfig, Trainer

SEED = int(os.environ.get('TORCH_SAKE_FUZZ_SEED', 0))
Z = torch.tensor([8, 1, 1])
POS = torch.tensor([[0, 0, 0.1], [0.75, 0, -0.5], [-0.8, 0.1, -0.45]])
# What an entry may become; 'remove' is to remove it.
VALUES = {
    'null': None, 'true': True, 'text': 'x', 'list': [], 'dictionary': {},
    'huge': 10**18, 'huge number': 1e300, 'negative': -1, 'half': 0.5,
    'NaN': math.nan, 'infinity': -math.inf, 'long': 10**400,
}


def refusal(path, load):
    """Returns None if a file is refused in one line that names it, or else
    what is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of a file without a digest
        try:
            return load(path)
        except (ValueError, TypeError) as error:
            message = str(error)
    assert '\n' not in message and str(path) in message, message
    assert len(message) < 1500, message
    message.encode()  # can be printed
    return None


# Damage to bytes:


def flip(content, generator):
    place = generator.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8


def flip_in_head(content, generator):
    place = generator.randrange(8 * min(len(content), 400))
    content[place // 8] ^= 1 << place % 8


def truncate(content, generator):
    del content[generator.randrange(len(content)):]


def insert(content, generator):
    place = generator.randrange(len(content) + 1)
    content[place:place] = generator.randbytes(generator.choice((1, 8, 100)))


def cut_out(content, generator):
    place = generator.randrange(len(content))
    del content[place:place + generator.choice((1, 8, 4096))]


def overwrite(content, generator):
    size = generator.choice((1, 8, 64, 512))
    place = generator.randrange(max(1, len(content) - size))
    content[place:place + size] = generator.choice(
        (bytes(size), generator.randbytes(size)))


def move(content, generator):
    size = generator.choice((8, 64, 512, 4096))
    places = [generator.randrange(max(1, len(content) - size))
              for _ in range(2)]
    content[places[0]:places[0] + size] = content[places[1]:places[1] + size]


DAMAGE = (flip, flip, flip_in_head, truncate, insert, cut_out, overwrite, move)


def damage(path, content, generator):
    content = bytearray(content)
    generator.choice(DAMAGE)(content, generator)
    path.write_bytes(content)


# Other content, with a digest that is right:


def places(value, at=()):
    """Yields the way to each entry."""
    if isinstance(value, (dict, list)):
        for key, item in (value.items() if isinstance(value, dict) else
                          enumerate(value)):
            yield (*at, key)
            yield from places(item, (*at, key))


def change_entry(content, generator, kinds=('remove', 'nest', *VALUES)):
    """Changes one entry, at any depth the same chance, and returns which and
    how."""
    ways = list(places(content))
    depth = generator.choice(sorted({min(len(way), 4) for way in ways}))
    way = generator.choice([way for way in ways if min(len(way), 4) == depth])
    kind = generator.choice(kinds)
    owner = content
    for key in way[:-1]:
        owner = owner[key]
    if kind == 'remove':
        del owner[way[-1]]
    else:
        owner[way[-1]] = ([owner[way[-1]]] if kind == 'nest' else
                          VALUES[kind])
    return '.'.join(map(str, way)), kind


def change_tensor(tensors, generator):
    """Changes one tensor and returns its name and how."""
    name = generator.choice(sorted(tensors))
    value = tensors[name].clone()
    kind = generator.choice(('remove', 'rename', 'add', 'shape', 'type', 'NaN',
                             'infinity'))
    if kind in ('remove', 'rename'):
        del tensors[name]
    if kind in ('rename', 'add'):
        tensors[name + generator.choice(('x', '\n', '.0'))] = value
    if kind == 'shape':
        tensors[name] = generator.choice((
            value[..., None], value.flatten()[:0], torch.cat(2 * [
                value.reshape(-1)])))
    if kind == 'type':
        tensors[name] = value.to(generator.choice([
            dtype for dtype in (torch.half, torch.bfloat16, torch.float,
                                torch.double, torch.int32, torch.bool)
            if dtype != value.dtype]))
    if kind in ('NaN', 'infinity') and value.numel() > 0:
        value = value if value.is_floating_point() else value.float()
        value.view(-1)[generator.randrange(value.numel())] = VALUES[kind]
        tensors[name] = value
    return name, kind


def write_checkpoint(path, tensors, text):
    path.write_bytes(save(tensors, {'torch_sake': text,
                                    'digest': digest(tensors, text)}))


def change_checkpoint(path, content, generator):
    tensors, description = copy.deepcopy(content)
    if generator.random() < 0.3:
        change = change_tensor(tensors, generator)
    else:
        change = change_entry(description, generator)
    try:
        write_checkpoint(path, tensors, json.dumps(description))
    except Exception:  # no such type in a file
        write_checkpoint(path, tensors, '{}')
    return change


@pytest.fixture(scope='module')
def trainer(tmp_path_factory):
    """A run that has come to its end."""
    folder = tmp_path_factory.mktemp('run')
    rng = numpy.random.default_rng(0)
    path = str(folder / 'water.frames')
    write_frames([Frames(
        z=torch.tensor([8, 1, 1]).repeat(10), num_atoms=3,
        pos=(POS.double() + 0.05 * torch.from_numpy(
            rng.normal(size=(10, 3, 3)))).view(-1, 3),
        energy=torch.from_numpy(rng.normal(size=10)),
        force=torch.from_numpy(rng.normal(size=(30, 3))), name='water',
        units={'length': 'Angstrom', 'energy': 'eV'}, source='water')], path)
    config = TrainConfig(
        data=path, num_train=6, num_val=2, out=str(folder / 'run'),
        num_steps=4, batch_size=3, val_interval=2, hidden_channels=2,
        num_layers=2, num_rbf=3, cutoff=3.0, zbl=True)
    Trainer(config).fit()
    return Trainer(replace(config, resume=True))


def predictions(potential):
    return torch.cat([value.detach().double().view(-1)
                      for value in potential(Z, POS)[:2]])


# Whoever writes these writes another potential, which is as good as any:
OTHER = {
    'energy_scale': ('half', 'huge'), 'prior': ('remove', 'null'),
    'prior.cutoff': ('half', ),
    'model.arguments.cutoff': ('remove', 'null', 'half', 'huge'),
    'model.arguments.avg_num_neighbors': ('remove', 'half', 'huge'),
}


@pytest.mark.parametrize('name', [BEST, LAST])
def test_damaged_checkpoints(name, trainer, tmp_path):
    generator = random.Random(SEED)
    original = os.path.join(trainer.config.out, name)
    content = open(original, 'rb').read()
    expected = predictions(load_potential(original))
    path, num_refused = tmp_path / 'm.safetensors', 0
    for _ in range(120):
        damage(path, content, generator)
        potential = refusal(path, load_potential)
        num_refused += potential is None
        if potential is not None:
            assert predictions(potential).equal(expected)
    assert num_refused > 100


@pytest.mark.slow
def test_changed_checkpoints(trainer, tmp_path):
    generator = random.Random(SEED)
    content = load_checkpoint(trainer.config.out)
    expected = predictions(load_potential(trainer.config.out))
    path, num_refused = tmp_path / 'm.safetensors', 0
    for _ in range(200):
        change = change_checkpoint(path, content, generator)
        potential = refusal(path, load_potential)
        num_refused += potential is None
        if potential is not None:
            name, kind = change
            assert kind in OTHER.get(name, ()) or (
                predictions(potential).equal(expected)), change
    assert num_refused > 50


def restore(trainer, path):
    """Reads what a run goes on from, as the run and Lightning do."""
    trainer._restore()
    checkpoint = SafetensorsIO().load_checkpoint(path)
    trainer.module.on_load_checkpoint(checkpoint)
    for optimizer, state in zip(trainer.module.configure_optimizers(),
                                checkpoint['optimizer_states']):
        optimizer.load_state_dict(state)
    return trainer


def state_of(trainer):
    module = trainer.module
    return [trainer.step, *(value for part in (
        module.potential, module.average.module, *module.built_optimizers)
        for value in tensors_of(part.state_dict()))]


def tensors_of(state):
    """All tensors and numbers of a state, in order."""
    if isinstance(state, dict):
        state = [state[key] for key in sorted(state, key=str)]
    if isinstance(state, (list, tuple)):
        return [value for part in state for value in tensors_of(part)]
    return [state]


# Left out, an optimizer begins anew with a parameter, as without gradients:
ANEW = ('optimizer_states.',)


@pytest.mark.parametrize('kind', ['damage', 'change'])
@pytest.mark.slow
def test_runs_that_go_on(kind, trainer):
    generator = random.Random(SEED)
    path = os.path.join(trainer.config.out, LAST)
    content = open(path, 'rb').read()
    parts = load_checkpoint(path)
    expected = state_of(restore(trainer, path))
    file = type('File', (), {'write_bytes': lambda self, content: open(
        path, 'wb').write(content)})()
    num_refused, change = 0, None
    try:
        for _ in range(120):
            if kind == 'damage':
                damage(file, content, generator)
            else:
                change = change_checkpoint(file, parts, generator)
            restored = refusal(path, lambda path: restore(trainer, path))
            num_refused += restored is None
            if restored is not None:
                found = state_of(restored)
                same = len(found) == len(expected) and all(map(
                    lambda one, other: one.equal(other) if isinstance(
                        one, torch.Tensor) else one == other, found, expected))
                assert same or (change and change[0].startswith(ANEW)), change
    finally:
        open(path, 'wb').write(content)
    assert num_refused > 50


def read_all(path):
    frames = FramesOnDisk(path)
    return [frames.units, frames.has_forces, frames.elements, frames.num_atoms,
            *(data.to_dict() for data in frames)]


def assert_same(found, expected):
    for one, other in zip(tensors_of(found), tensors_of(expected)):
        assert one.equal(other) if isinstance(one, torch.Tensor) else (
            one == other)
    assert len(tensors_of(found)) == len(tensors_of(expected))


def test_damaged_frames(trainer, tmp_path):
    generator = random.Random(SEED)
    content = open(trainer.config.data, 'rb').read()
    expected = read_all(trainer.config.data)
    path, num_refused = tmp_path / 'm.frames', 0
    for _ in range(200):
        damage(path, content, generator)
        found = refusal(path, read_all)
        num_refused += found is None
        if found is not None:
            assert_same(found, expected)
    assert num_refused > 50


ROWS = [
    "DELETE FROM Frames WHERE id = {0}",
    "UPDATE Frames SET id = 10 WHERE id = {0}",
    "UPDATE Frames SET id = -1 WHERE id = {0}",
    "UPDATE Frames SET COL_pos = (SELECT COL_pos FROM Frames WHERE id = {1}) "
    "WHERE id = {0}",
    "UPDATE Frames SET COL_force = COL_pos WHERE id = {0}",
    "UPDATE Frames SET COL_energy = NULL WHERE id = {0}",
    "UPDATE Frames SET COL_info = '{{\"a\": 1}}' WHERE id = {0}",
    "UPDATE About SET known = x'00'", "UPDATE About SET known = num_atoms",
    "UPDATE Frames SET COL_energy = 'x' WHERE id = {0}",
    "UPDATE Frames SET COL_z = 3 WHERE id = {0}",
    "UPDATE Frames SET COL_z = x'010101' WHERE id = {0}",
    "UPDATE Frames SET COL_pbc = x'01' WHERE id = {0}",
    "UPDATE Frames SET COL_force = CAST(x'ff0a0a' AS TEXT) WHERE id = {0}",
    "INSERT INTO Frames SELECT 10, COL_z, COL_pos, COL_force, COL_cell, "
    "COL_pbc, COL_stress, COL_energy, COL_info FROM Frames WHERE id = {0}",
    "UPDATE Frames SET id = CASE id WHEN {0} THEN -{1} - 1 ELSE -{0} - 1 END "
    "WHERE id IN ({0}, {1}); UPDATE Frames SET id = -id - 1 WHERE id < 0",
    "DELETE FROM About", "INSERT INTO About SELECT * FROM About",
    "DROP TABLE About", "DROP TABLE Frames", "CREATE TABLE Other (id)",
    "ALTER TABLE Frames RENAME TO Rows; "
    "CREATE VIEW Frames AS SELECT * FROM Rows",
    "UPDATE About SET description = '[]'", "UPDATE About SET digest = NULL",
    "UPDATE About SET digest = 'x'", "UPDATE About SET digests = x''",
    "UPDATE About SET num_atoms = x'0102'", "PRAGMA user_version = 2",
    "PRAGMA user_version = 3", "PRAGMA user_version = 5",
    "PRAGMA application_id = 1",
    "ALTER TABLE About DROP COLUMN digest",
    "ALTER TABLE Frames RENAME COLUMN COL_pos TO COL_other",
]


@pytest.mark.parametrize('statement', ROWS)
def test_changed_rows(statement, trainer, tmp_path):
    path = tmp_path / 'm.frames'
    path.write_bytes(open(trainer.config.data, 'rb').read())
    rows = random.Random(SEED).sample(range(10), 2)
    with sqlite3.connect(path) as connection:
        connection.executescript(statement.format(*rows))
    connection.close()
    assert refusal(path, read_all) is None


def test_changed_frames(trainer, tmp_path):
    """With a digest that is right."""
    generator = random.Random(SEED)
    content = open(trainer.config.data, 'rb').read()
    expected = read_all(trainer.config.data)
    path, num_refused = tmp_path / 'm.frames', 0
    for _ in range(100):
        path.write_bytes(content)
        with sqlite3.connect(path) as connection:
            text, *columns = connection.execute(
                'SELECT description, num_atoms, digests, known FROM About'
            ).fetchone()
            num_atoms, digests, known = (
                numpy.frombuffer(column, kind).copy()
                for column, kind in zip(columns, COLUMNS[FORMAT].values()))
            change = generator.choice(('description', 'count', 'counts', 'row',
                                       'text'))
            if change == 'description':
                about = json.loads(text)
                change = change_entry(about, generator)
                text = json.dumps(about)
            elif change == 'text':
                text = generator.choice(('', '{', '[' * 5000, 'null', '3',
                                         '{}', '[]', '\ud7ff', '"a": 1'))
            elif change == 'count':
                num_atoms[3] = generator.choice((-1, 0, 2, 4, 2**31 - 1))
            elif change == 'counts':
                size = generator.choice((0, 1, 9))
                num_atoms, digests, known = (
                    num_atoms[:size], digests[:size], known[:size])
            else:
                column = generator.choice(sorted(ARRAYS))
                value = generator.choice((b'', b'\0', bytes(24), bytes(72)))
                connection.execute(f'UPDATE Frames SET COL_{column} = ? '
                                   f'WHERE id = 4', (value, ))
                *arrays, energy, info = connection.execute(
                    f'SELECT {", ".join(f"COL_{key}" for key in ARRAYS)}, '
                    f'COL_energy, COL_info FROM Frames '
                    f'WHERE id = 4').fetchone()
                digests[4] = row_digest(arrays, energy, info)
                change = column, len(value)
            columns = {'num_atoms': num_atoms, 'digests': digests,
                       'known': known}
            connection.execute(
                'UPDATE About SET description = ?, num_atoms = ?, digests = ?,'
                ' known = ?, digest = ?', (
                    text, *(column.tobytes() for column in columns.values()),
                    digest_of_all(columns, text)))
        connection.close()
        found = refusal(path, read_all)
        num_refused += found is None
        # What else is written there is as good as any:
        if found is not None and change[0] in ('name', 'test_start',
                                               'split_seed', 'readout'):
            assert_same(found, expected)
    assert num_refused > 50
