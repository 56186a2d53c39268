"""Simulations that go on, beside files that are not all there."""

import os
import re
import shutil

import numpy
import pytest

from torch_sake.simulation import MDConfig, Simulation

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('ase.md.langevinbaoab')


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def frames_of(path):
    return ase_io.read(path, ':', format=path.suffix[1:])


def write_frames(path, frames):
    ase_io.write(path, frames, format=path.suffix[1:])


def fewer(path):
    write_frames(path, frames_of(path)[:2])


def without_one(path):
    frames = frames_of(path)
    write_frames(path, frames[:1] + frames[2:] + frames[-1:])


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[:int(0.7 * len(data))])


def torn(path):  # in the last number
    data = path.read_bytes()
    path.write_bytes(data[:-3])


def other_atoms(path):
    frames = frames_of(path)
    frames[1] = frames[1][:-1]
    write_frames(path, frames)


def other_elements(path):
    frames = frames_of(path)
    frames[1].numbers[0] = 14
    write_frames(path, frames)


def other_positions(path):
    frames = frames_of(path)
    frames[-1].positions += 1e-3  # energies are kept with the labels
    for atoms in frames:
        atoms.calc.atoms = atoms.copy()
    write_frames(path, frames)


def without_energies(path):
    frames = frames_of(path)
    frames[0].calc = None
    write_frames(path, frames)


def empty(path):
    path.write_bytes(b'')


def noise(path):
    path.write_bytes(os.urandom(2000))


def drop_row(path):
    lines = path.read_text().splitlines(True)
    path.write_text(''.join(lines[:2] + lines[3:]))


def drop_row_of_more(path):
    """As many rows as the state counts are still there."""
    lines = path.read_text().splitlines(True)
    later = '10' + lines[-1][lines[-1].index(','):]
    path.write_text(''.join(lines[:2] + lines[3:] + [later]))


def other_energy(path):
    lines = path.read_text().splitlines(True)
    row = lines[2].split(',')
    row[2] = repr(float(row[2]) + 1e-3)
    lines[2] = ','.join(row)
    path.write_text(''.join(lines))


def words(path):
    lines = path.read_text().splitlines(True)
    lines[2] = lines[2].replace(lines[2].split(',')[4], 'hot')
    path.write_text(''.join(lines))


def no_column(path):
    path.write_text(path.read_text().replace('potential', 'other'))


TRAJECTORY = [
    (os.remove, 'got 0 of them, then FileNotFoundError'),
    (fewer, 'got 2 of them, then '), (without_one, 'the energy in the log'),
    (cut, 'got 3 of them, then '), (torn, 'got 4 of them, then '),
    (other_atoms, 'that of step 2 must have the 9 atoms .*got C2H5O'),
    (other_elements, 'that of step 2 must have the 9 atoms'),
    (other_positions, 'step 8 must have the positions of the state'),
    (without_energies, 'step 0 must have the energy in the log'),
    (empty, 'got 0 of them, then '), (noise, 'got 0 of them, then '),
]
LOG = [
    (os.remove, 'of 5 rows.*FileNotFoundError'), (drop_row, 'got 4'),
    (drop_row_of_more, 'of every 2 steps up to step 8'),
    (other_energy, 'that of step 2 must have the energy in the log'),
    (words, 'ValueError: could not convert'), (no_column, 'KeyError'),
    (empty, 'got 0'), (noise, 'of 5 rows'),
]


@pytest.mark.parametrize('format', ['extxyz', 'traj'])
@pytest.mark.slow
def test_nothing_goes_on_beside_less_than_there_was(
        checkpoint, molecule_file, tmp_path, format):
    whole, out = tmp_path / 'whole', tmp_path / 'md'
    settings = dict(checkpoint=checkpoint('run'), structure=molecule_file,
                    interval=2, format=format, compile=False)
    Simulation(MDConfig(out=str(whole), num_steps=8, **settings)).run()
    trajectory = f'trajectory.{format}'
    for name, cases in ((trajectory, TRAJECTORY), ('log.csv', LOG)):
        for damage, message in cases:
            shutil.copytree(whole, out)
            damage(out / name)
            before = content(out)
            blamed = trajectory if damage is other_energy else name
            with pytest.raises(ValueError) as error:
                Simulation(MDConfig(out=str(out), num_steps=12, resume=True,
                                    **settings))
            text = str(error.value)
            assert "'resume' needs the " in text and '\n' not in text, damage
            assert f"'{out / blamed}'" in text, damage
            assert re.search(message, text), (damage, text)
            if 'got' in message:
                assert re.search(r'\b5 (rows|frames)|9 atoms', text), text
            assert content(out) == before, damage
            shutil.rmtree(out)
    # What a state counts is kept as it is, whatever is behind it.
    shutil.copytree(whole, out)
    for name in (trajectory, 'log.csv'):
        with open(out / name, 'ab') as file:
            file.write(b'\0\0 no frame')
    resumed = Simulation(MDConfig(out=str(out), num_steps=12, resume=True,
                                  **settings))
    assert (out / 'log.csv').read_bytes() == (whole / 'log.csv').read_bytes()
    if format == 'extxyz':
        assert (out / trajectory).read_bytes() == (
            whole / trajectory).read_bytes()
    resumed.run()
    assert len(frames_of(out / trajectory)) == 7
    for one, other in zip(frames_of(out / trajectory),
                          frames_of(whole / trajectory)):
        assert numpy.array_equal(one.positions, other.positions)
        assert one.get_potential_energy() == other.get_potential_energy()


def test_two_at_a_time(checkpoint, molecule_file, tmp_path):
    settings = dict(checkpoint=checkpoint('run'), structure=molecule_file,
                    interval=2, compile=False, out=str(tmp_path / 'md'))
    first, second, third = (Simulation(MDConfig(num_steps=8, **settings))
                            for _ in range(3))
    advance, refused = first._advance, []

    def meanwhile():
        if first.step == 5:
            before = content(tmp_path / 'md')
            for call in (second.run, lambda: Simulation(MDConfig(
                    num_steps=20, resume=True, **settings))):
                with pytest.raises(ValueError, match="md' must not be written "
                                   "to by two at a time .process"):
                    call()
                refused.append(call)
            assert content(tmp_path / 'md') == before
            raise KeyError
        advance()

    first._advance = meanwhile
    with pytest.raises(KeyError):
        first.run()
    assert len(refused) == 2
    # What is there now is not what it was for these:
    for other in (second, third):
        with pytest.raises(ValueError, match="'out' must not be written to by "
                           "another simulation"):
            other.run()
    first._advance = advance
    first.run()  # goes on
    assert first.step == 8 and len(first.records.rows()['step']) == 5
    again = Simulation(MDConfig(num_steps=12, resume=True, **settings))
    dropped = Simulation(MDConfig(num_steps=12, resume=True, **settings))
    again.run()
    assert dropped.step == 8 and again.step == 12
    assert '.lock' not in os.listdir(tmp_path / 'md')


def test_frames_that_are_right_need_no_words(checkpoint, molecule_file,
                                             tmp_path, monkeypatch):
    """What a formula is takes time that is long for a short frame."""
    settings = dict(checkpoint=checkpoint('run'), structure=molecule_file,
                    out=str(tmp_path / 'md'), interval=1)
    Simulation(MDConfig(num_steps=3, **settings)).run()
    monkeypatch.setattr('ase.Atoms.get_chemical_formula', None)
    simulation = Simulation(MDConfig(num_steps=3, resume=True, **settings))
    assert simulation.records.num_frames == 4
