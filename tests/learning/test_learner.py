"""The loop as a whole."""

import csv
import json
import os
import os.path as osp
import warnings

import ase.io
import numpy
import pytest
import torch

import torch_sake.utils.files as files
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import read_frames
from torch_sake.learning import LearnConfig
from torch_sake.learning.rounds import HOLDS, OVER, STUCK


def rows_of(out):
    with open(osp.join(out, 'learn.csv')) as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row['wall time [s]']
    return rows


def tensors_of(learner):
    return [load_checkpoint(path)[0] for path in learner.checkpoints]


def assert_same(one, other):
    """Two loops have come to the same, digit by digit."""
    assert rows_of(one.config.out) == rows_of(other.config.out)
    for tensors, others in zip(tensors_of(one), tensors_of(other)):
        assert tensors.keys() == others.keys()
        assert all(value.equal(others[name])
                   for name, value in tensors.items())


def test_loop(learner, begun, capsys, emt_labels):
    one = learner()
    assert one.run() == OVER
    out = one.config.out
    rows = rows_of(out)
    assert [row['round'] for row in rows] == ['1', '2']
    assert [row['labels'] for row in rows] == ['4', '8']
    assert all(row['with doubt'] in '12' for row in rows)
    assert 'RMSE before learning them' in capsys.readouterr().out
    assert osp.getsize(osp.join(out, 'learn.png')) > 0
    for number in (1, 2):
        folder = osp.join(out, f'round_{number}')
        found = ase.io.read(osp.join(folder, 'learned.extxyz'), ':')
        assert len(found) == 4
        for atoms in found:  # labels of their own
            expected = emt_labels(atoms.copy())
            assert atoms.get_potential_energy() == pytest.approx(
                expected.get_potential_energy(), abs=1e-6)
            assert atoms.get_forces() == pytest.approx(
                expected.get_forces(), abs=1e-5)
            assert atoms.info['config_type'] == f'learn_{number}'
            assert float(atoms.info['uncertainty'].split()[0]) > 0
        # Both temperatures have some:
        assert {atoms.info['temperature'] for atoms in found} == {300, 1500}
        with numpy.load(osp.join(folder, 'split.npz')) as split:
            train, val = split['train'], split['val']
        assert {*train}.isdisjoint(val)
        new = {*range(24, 24 + 4 * number)}
        assert len(new & {*train}) == 3 * number
        assert len(new & {*val}) == number
        # The frames of 'data' are where the run of 'init' had them:
        tensors, _ = load_checkpoint(begun['init'][0])
        assert {*train} - new == {*tensors['split.train'].tolist()}
        assert {*val} - new == {*tensors['split.val'].tolist()}
        for member in range(2):
            settings = load_checkpoint(osp.join(
                folder, f'train_{member}'))[1]['config']
            before = osp.join(out, f'round_1/train_{member}') if (
                number == 2) else begun['init'][member]
            assert settings['init'] == before
    for member, tensors in enumerate(tensors_of(one)):
        last, _ = load_checkpoint(osp.join(out, f'round_2/train_{member}'))
        assert all(value.equal(last[name]) for name, value in tensors.items())
    # More rounds go on, the same ones are over:
    before = os.stat(osp.join(out, 'round_2', 'round.json')).st_mtime_ns
    assert learner().run() == OVER
    more = learner(num_rounds=3)
    more.run()
    assert len(more.rows) == 3
    assert rows_of(out)[:2] == rows
    assert os.stat(osp.join(out, 'round_2',
                            'round.json')).st_mtime_ns == before


def test_errors_are_those_before_learning(whole, begun):
    """Of validation frames and of the new ones, by the first potential."""
    from torch_sake.calculators.ase import SAKECalculator
    one = whole
    calculator = SAKECalculator(begun['init'])
    val = load_checkpoint(begun['init'][0])[0]['split.val'].tolist()
    data = ase.io.read(begun['data'], ':')
    new = ase.io.read(osp.join(one.config.out, 'round_1/learned.extxyz'), ':')
    for part, frames in (('validation', [data[index] for index in val]),
                         ('new frames', new)):
        errors, energies = [], []
        for atoms in frames:
            copy = atoms.copy()
            copy.calc = calculator
            errors.append(copy.get_forces() - atoms.get_forces())
            energies.append(copy.get_potential_energy()
                            - atoms.get_potential_energy())
        row = one.rows[0]
        assert row[f'{part}: force RMSE [eV/Angstrom]'] == pytest.approx(
            numpy.sqrt(numpy.square(errors).mean()), rel=1e-3)
        assert row[f'{part}: energy RMSE [eV]'] == pytest.approx(
            numpy.sqrt(numpy.square(energies).mean()), rel=1e-3, abs=1e-5)


def test_who_is_sure_ends_after_a_round(labels_here, learner):
    one = learner(max_force_std=1e3, num_rounds=5, temperatures=100.0)
    assert one.run() == HOLDS
    out = one.config.out
    row, = rows_of(out)
    assert (row['labels'], row['with doubt']) == ('0', '0')
    assert float(row['time before the first doubt [ps]']) == 0.08
    assert float(row['mean time [ps]']) == 0.08
    assert row['new frames: force RMSE [eV/Angstrom]'] == ''
    assert not osp.exists(osp.join(out, 'round_1', 'to_label.extxyz'))
    assert not osp.exists(osp.join(out, 'round_2'))
    assert 'It holds' in one.describe_end(HOLDS)
    for tensors, path in zip(tensors_of(one), one.config.init):
        others, _ = load_checkpoint(path)
        assert all(value.equal(others[name])
                   for name, value in tensors.items())


def test_limit_follows_from_validation_frames(labels_here, learner, begun):
    from torch_sake.calculators.ase import SAKECalculator
    one = learner(max_force_std=None, std_factor=2.0, num_rounds=1)
    one.run()
    calculator = SAKECalculator(begun['init'])
    largest = []
    val = load_checkpoint(begun['init'][0])[0]['split.val'].tolist()
    for index in val:
        calculator.calculate(ase.io.read(begun['data'], index))
        largest.append(numpy.linalg.norm(calculator.results['forces_std'],
                                         axis=1).max())
    assert float(one.rows[0]['largest uncertainty [eV/Angstrom]']) == (
        pytest.approx(2 * numpy.median(largest), rel=1e-4))


@pytest.mark.slow
def test_nothing_new_is_no_endless_loop(labels_here, learner):
    """All that is in doubt is like what was labeled before."""
    one = learner(max_force_std=1e-6, min_distance=1.0, num_rounds=5)
    assert one.run() == STUCK
    assert [row['new labels'] for row in rows_of(one.config.out)] == ['1', '0']
    assert "'min_distance'" in one.describe_end(STUCK)


@pytest.mark.slow
def test_first_potential_is_trained_on_data(labels_here, learner, begun):
    """By as many members as are asked for, on a split of its own."""
    settings = dict(init=None, num_members=2, num_steps=8, num_rounds=1,
                    hidden_channels=8, num_layers=1, cutoff=4.0, num_val=5)
    one = learner(**settings)
    one.run()
    with numpy.load(osp.join(one.config.out, 'round_0/split.npz')) as split:
        assert len(split['val']) == 5
        assert sorted([*split['train'], *split['val']]) == [*range(24)]
    first = [load_checkpoint(osp.join(one.config.out, f'round_0/train_{k}'))
             for k in range(2)]
    assert first[0][1]['config']['num_steps'] == 8
    assert not torch.equal(first[0][0]['potential.model.embedding.weight'],
                           first[1][0]['potential.model.embedding.weight'])
    other = learner('other', seed=1, **settings)
    other.run()
    assert rows_of(one.config.out) != rows_of(other.config.out)


@pytest.mark.slow
def test_init_learns_other_data_first(labels_here, learner, begun, tmp_path):
    """These were not in its run: there is a split of their own."""
    data = str(tmp_path / 'others.extxyz')
    ase.io.write(data, ase.io.read(begun['data'], ':20'))
    one = learner(data=data, num_steps=4, num_rounds=1)
    one.run()
    settings = load_checkpoint(osp.join(
        one.config.out, 'round_0/train_1'))[1]['config']
    assert settings['init'] == begun['init'][1]
    assert settings['num_steps'] == 4


@pytest.mark.slow
def test_init_alone(labels_here, learner, begun):
    """Without 'data', all frames are new ones."""
    one = learner(data=None)
    assert one.run() == OVER
    first, second = rows_of(one.config.out)
    assert first['validation: force RMSE [eV/Angstrom]'] == ''
    assert second['validation: force RMSE [eV/Angstrom]'] != ''
    with numpy.load(osp.join(one.config.out, 'round_2/split.npz')) as split:
        assert sorted([*split['train'], *split['val']]) == [*range(8)]


@pytest.mark.slow
def test_labels_in_units_of_the_potential(labels_here, learner, begun,
                                          tmp_path):
    """The potential keeps its own units; labels are in eV."""
    data = str(tmp_path / 'kcal.extxyz')
    frames = ase.io.read(begun['data'], ':')
    for atoms in frames:
        for name in ('energy', 'forces'):
            atoms.calc.results[name] = atoms.calc.results[name] * 23.0605478
    ase.io.write(data, frames)
    with warnings.catch_warnings():  # of another method
        warnings.simplefilter('error')
        one = learner(data=data, units='kcal/mol', num_steps=2, num_rounds=1)
        one.run()
    new = read_frames(osp.join(one.config.out, 'round_1/learned.extxyz'))
    assert new.units['energy'] == 'eV'
    assert abs(float(new[0].energy)) < 30


@pytest.mark.slow
def test_data_of_another_method(labels_here, learner, begun, tmp_path):
    data = str(tmp_path / 'other.extxyz')
    frames = ase.io.read(begun['data'], ':')
    for atoms in frames:
        atoms.calc.results['forces'] = 1.2 * atoms.calc.results['forces']
    ase.io.write(data, frames)
    one = learner(data=data, num_steps=2, num_rounds=1, max_force_std=1e3,
                  temperatures=100.0)
    with pytest.warns(UserWarning, match="'label' must be of the method of"):
        one.run()


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['one potential', 'two from data'])
def test_stopped_at_any_point(labels_here, learner, begun, monkeypatch, kind):
    """After each file that is written, in turns of one to five of them, the
    loop ends as by a kill: it comes to the same as one that was not stopped.
    """
    settings = dict(init=begun['init'][0], max_force_std=1.0)
    if kind == 'two from data':
        settings = dict(init=None, num_members=2, num_steps=4, num_rounds=1,
                        cutoff=4.0, hidden_channels=8, num_layers=1,
                        max_force_std=1e-6, temperatures=300.0,
                        structures=[f"{begun['data']}@{index}"
                                    for index in range(3)])
    whole = learner('whole', **settings)
    whole.run()
    assert whole.rows[0]['new labels'] > 1
    replace, left = os.replace, [0]

    def stop(source, target):
        replace(source, target)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(files.os, 'replace', stop)
    ended, number = False, 0
    while not ended:
        # More in the end: a training writes several before it has begun.
        left[0] = number % 5 + 1 + number // 20
        number += 1
        assert number < 500
        part = learner('part', **settings)
        try:
            part.run()
            ended = True
        except Killed:
            pass
    assert number > 10
    assert_same(part, whole)


@pytest.mark.slow
@pytest.mark.parametrize('where', ['choose', 'compute_labels', 'errors_of',
                                   'train_members', 'walk'])
def test_interrupted(labels_here, whole, learner, monkeypatch, where):
    part = learner(num_rounds=1)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f'torch_sake.learning.rounds.{where}', interrupt)
        with pytest.raises(KeyboardInterrupt):
            part.run()
    again = learner(num_rounds=1)
    again.run()
    assert_same(again, whole)


def test_another_loop_in_the_folder(labels_here, learner, begun, tmp_path):
    learner(temperatures=100.0, max_force_std=1e3).run()
    with pytest.raises(ValueError, match="'seed' must be 0, as before"):
        learner(temperatures=100.0, max_force_std=1e3, seed=1)
    other = str(tmp_path / 'other.extxyz')
    atoms = ase.io.read(begun['structures'])
    atoms.positions *= 1.01
    atoms.write(other)
    with pytest.raises(ValueError, match="'structures' must be what it was"):
        learner(temperatures=100.0, max_force_std=1e3, structures=other)
    ase.io.write(other, ase.io.read(begun['data'], ':22'))
    with pytest.raises(ValueError, match="'data' must be what it was"):
        learner(temperatures=100.0, max_force_std=1e3, data=other)
    # What only lies elsewhere is the same:
    ase.io.write(other, ase.io.read(begun['data'], ':'))
    learner(temperatures=100.0, max_force_std=1e3, data=other)
    with open(osp.join(tmp_path, 'loop', 'learn.json'), 'w') as file:
        json.dump([], file)
    with pytest.raises(ValueError, match='is damaged'):
        learner(temperatures=100.0, max_force_std=1e3)


@pytest.mark.parametrize('settings, message', [
    ({'data': None, 'init': None}, "'data' or 'init' must be given"),
    ({'data': None, 'max_force_std': None}, "'max_force_std' must be given"),
    ({'init': None, 'refit': True}, "'refit' needs 'init'"),
    ({'num_members': 3}, "'num_members' must be that of 'init', 2"),
    ({'time': 0.0002}, "'time' must be at least a step"),
    ({'cutoff': 4.0}, "'cutoff' must not be given for the potential"),
    ({'label': 'dft'}, "'label' must be one of"),
    ({'temperatures': [300, 300]}, "'temperatures' must be different"),
    ({'temperatures': [300, 0]}, "'temperatures' must be positive"),
    ({'structures': []}, "'structures' must be at least one"),
])
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        LearnConfig(**{'structures': 'a.xyz', 'label': 'xtb', 'data': 'b.xyz',
                       'init': ['c', 'd'], **settings})
