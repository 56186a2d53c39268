import csv
import json
import os
from dataclasses import replace

import numpy
import pytest
import torch
import yaml
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import NBody
from torch_sake.datasets.motion.particles import (
    Forces,
    initial_particles,
    simulate,
)
from torch_sake.forecasting import (
    DynamicsConfig,
    Forecaster,
    load_dynamics,
    load_forecaster,
)
from torch_sake.forecasting.config import MODELS
from torch_sake.forecasting.data import Batches, reverse_time
from torch_sake.forecasting.evaluation import (
    conservation,
    energy_and_momentum,
    roll_out,
    trivial_predictors,
)
from torch_sake.testing import assert_equivariant
from torch_sake.utils.inputs import BEST, LAST

SIZES = (24, 12, 10)


def forecaster(model='SAKENet', num_dimensions=3, in_channels=0, **options):
    return Forecaster(model, in_channels, 1, num_dimensions, time=2.0,
                      length=1.5, hidden_channels=8, num_layers=2, **options)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('nbody')


@pytest.mark.parametrize('options', [dict(), dict(cutoff=1.5)])
def test_batches(root, options):
    data = NBody(root, sizes=SIZES, frames=(0, 1), stride=10, **options)
    for batch, expected in zip(Batches(data, 7), DataLoader(data, 7)):
        for key in ('charge', 'pos', 'vel', 'y', 'y_vel', 'edge_index',
                    'edge_attr', 'batch'):
            assert torch.equal(batch[key], expected[key])
    order = torch.randperm(24)
    batches = list(Batches(data, 7, order))
    assert len(batches) == 3  # a smaller one is left out
    assert torch.equal(batches[1].pos[:5], data[int(order[7])].pos)
    assert len(Batches(data, 50, order)) == 1
    data.slices['pos'] = data.slices['pos'].clone()
    data.slices['pos'][1] += 1
    with pytest.raises(ValueError, match='systems must be of one size'):
        Batches(data, 7)


@pytest.mark.parametrize('num_dimensions', [2, 3, 5])
@pytest.mark.parametrize('model, conv', [
    ('SAKENet', 'sake'), ('SAKENet', 'vector'), ('EGNN', 'sake'),
    ('RadialField', 'sake'), ('Linear', 'sake')])
def test_equivariance(tmp_path, model, conv, num_dimensions):
    net = forecaster(model, num_dimensions, conv=conv,
                     has_velocity=True).double()
    data = next(iter(DataLoader(NBody(
        tmp_path, sizes=(3, 1, 1), frames=(0, 1),
        num_dimensions=num_dimensions), 3)))
    for key in ('pos', 'vel', 'edge_attr'):
        data[key] = data[key].double()

    def function(pos, vel):
        moved = data.clone()
        moved.pos, moved.vel = pos, vel
        with torch.no_grad():
            return None, *net(moved)

    assert_equivariant(function, data.pos, data.vel, atol=1e-9)


@pytest.mark.parametrize('model', ['SAKENet', 'Linear'])
def test_starts_from_constant_velocity(root, model):
    data = NBody(root, sizes=SIZES, frames=(0, 1), stride=10)._data
    with torch.no_grad():
        pos, vel = forecaster(model)(data)
    expected = data.pos + 2.0 * data.vel
    assert float((pos - expected).abs().mean()) < 0.1 * float(
        (pos - data.pos).abs().mean())
    # Without a velocity of its own, it is that of the way:
    assert torch.allclose(vel, (pos - data.pos) / 2.0, atol=1e-5)


def test_units():
    """Lengths and times of another unit change nothing."""
    torch.manual_seed(0)
    one = forecaster(in_channels=1, cutoff=4.0, has_velocity=True)
    other = Forecaster(**dict(one.arguments, length=15.0, cutoff=40.0,
                              time=4.0))
    other.load_state_dict(one.state_dict())
    edge_index = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 2]])
    data = Data(x=torch.randn(3, 1), pos=torch.randn(3, 3),
                vel=torch.randn(3, 3), edge_index=edge_index,
                edge_attr=torch.randn(4, 1))
    pos, vel = one(data)
    data.pos, data.vel = 10 * data.pos, 5 * data.vel
    new_pos, new_vel = other(data)
    assert torch.allclose(new_pos, 10 * pos, atol=1e-4)
    assert torch.allclose(new_vel, 5 * vel, atol=1e-4)


def test_roll_out(root):
    one, two = (load_dynamics('nbody', root, 'test', 1, (2, 2, 8), number)
                for number in (1, 2))
    assert torch.equal(one._data.pos, two._data.pos)  # the same systems
    calls = []

    def predict(data):
        calls.append((data.pos, data.vel))
        return data.pos + data.vel, 3 * data.vel

    rollout = roll_out(predict, two, 2)
    data = two._data
    assert len(calls) == 2 and torch.equal(calls[1][1], 3 * data.vel)
    assert torch.allclose(rollout.way[2], data.pos + 4 * data.vel)
    assert torch.allclose(rollout.vel, 9 * data.vel)
    error = (data.pos + 4 * data.vel - data.y).square().mean()
    assert rollout.mse == pytest.approx(float(error))
    # A perfect prediction conserves what the truth conserves:
    perfect = rollout._replace(way=data.y.unsqueeze(0), vel=data.y_vel)
    found = conservation(perfect, two)
    assert found['energy'] == found['momentum'] == 0 < found['true_energy']
    assert conservation(rollout, two)['momentum'] > 1e-3


def test_trivial_predictors(root):
    train = load_dynamics('nbody', root, 'train', 1, (20, 2, 8))
    data = train._data
    steps = {name: predict(data)[0] - data.pos
             for name, predict in trivial_predictors(train).items()}
    assert not steps['no motion'].any()
    assert torch.allclose(steps['constant velocity'], 0.1 * data.vel,
                          atol=1e-5)
    way = (data.y - data.pos).flatten()
    best = torch.linalg.lstsq(data.vel.reshape(-1, 1), way.view(-1, 1))
    assert torch.allclose(steps['fitted velocity'],
                          best.solution.squeeze() * data.vel, atol=1e-5)


def test_energy_and_momentum_are_conserved():
    generator = torch.Generator().manual_seed(0)
    particles = initial_particles(10, 5, 3, 'charge', 3.0, 0.5, generator)
    forces = Forces(particles, 'charge', 1.0, 1e9, None)
    pos, vel = simulate(particles, forces, 1e-4, (10000, ))
    before = energy_and_momentum(*particles[:3])
    after = energy_and_momentum(pos[0], vel[0], particles.charge)
    assert float((after[0] - before[0]).abs().median()) < 1e-4
    assert torch.allclose(after[1], before[1], atol=1e-10)
    kinetic = 0.5 * particles.vel.square().sum(dim=(1, 2))
    assert float((before[0] - kinetic).abs().min()) > 1e-3  # both are there


def test_the_way_back_is_one_of_the_simulation():
    generator = torch.Generator().manual_seed(0)
    particles = initial_particles(10, 5, 3, 'charge', 3.0, 0.5, generator)
    forces = Forces(particles, 'charge', 1.0, 1e9, None)
    pos, vel = simulate(particles, forces, 1e-4, (5000, ))
    data = Data(pos=particles.pos, vel=particles.vel, y=pos[0], y_vel=vel[0],
                charge=particles.charge)
    back = reverse_time(data)
    pos, vel = simulate(particles._replace(pos=back.pos, vel=back.vel), forces,
                        1e-4, (5000, ))
    assert torch.allclose(pos[0], back.y, atol=1e-3)
    assert torch.allclose(vel[0], back.y_vel, atol=1e-3)
    assert not torch.allclose(back.y, back.pos, atol=0.1)
    assert torch.equal(back.charge, data.charge)
    assert torch.equal(data.pos, particles.pos)  # as it was


@pytest.mark.parametrize('options, match', [
    (dict(model='SchNet'), "'model' must be one of"),
    (dict(model='EGNN', cutoff=3.0), "'cutoff' must not be given for EGNN"),
    (dict(model='GNN', conv='sake'), "'conv' must not be given for GNN"),
    (dict(conv='tensor'), "'conv' must be one of"),
    (dict(num_epochs=0), "'num_epochs' must be at least 1"),
    (dict(learning_rate=-1.0), "'learning_rate' must be positive"),
    (dict(ema_decay=1.0), "'ema_decay' must be at least 0 and below 1"),
    (dict(velocity_weight=-1.0), "'velocity_weight' must not be negative"),
    (dict(data='cmu-walk', time_reversal=True), "'time_reversal' must not be"),
    (dict(data='cmu-walk', sizes=(1, 1, 1)), "'sizes' must not be given"),
])
def test_wrong_settings(options, match):
    with pytest.raises(ValueError, match=match):
        DynamicsConfig(**options)


def test_wrong_data(root):
    with pytest.raises(ValueError, match="'data' must be 'nbody', 'cmu-walk'"):
        load_dynamics('run', root, 'train')
    with pytest.raises(ValueError, match="'horizon' must be at least 1"):
        load_dynamics('nbody', root, 'train', 0)


@pytest.fixture
def config(root, tmp_path):
    return DynamicsConfig(root=str(root), sizes=SIZES, hidden_channels=8,
                          num_layers=2, num_epochs=4, batch_size=6,
                          num_rollout=2, out=str(tmp_path / 'run'))


@pytest.fixture
def run():
    pytest.importorskip('pytorch_lightning')
    pytest.importorskip('matplotlib')
    from torch_sake.forecasting.fit import run_dynamics
    return run_dynamics


@pytest.mark.parametrize('options', [
    *(dict(model=model) for model in MODELS),
    dict(conv='sake', velocity_weight=0.5, time_reversal=False)], ids=str)
def test_run(run, config, options):
    config = replace(config, **options)
    result = run(config)
    assert sorted(os.listdir(config.out)) == [
        'best.safetensors', 'config.yaml', 'last.safetensors',
        'learning_curve.png', 'metrics.csv', 'test.json', 'trajectories.png']
    assert json.load(open(os.path.join(config.out, 'test.json'))) == result
    with open(os.path.join(config.out, 'metrics.csv')) as file:
        rows = list(csv.DictReader(file))
    assert [int(row['step']) for row in rows] == [4, 8, 12, 16]
    best = min(float(row['val_mse']) for row in rows)
    assert result['val_mse'] == best
    # The best checkpoint is that of the best validation:
    net = load_forecaster(config.out)
    val = load_dynamics('nbody', config.root, 'val', sizes=SIZES)
    assert roll_out(net, val, 1).mse == pytest.approx(best, rel=1e-5)
    assert net.has_velocity == (config.velocity_weight > 0)
    test = load_dynamics('nbody', config.root, 'test', sizes=SIZES)
    assert result['test_mse'] == roll_out(net, test, 1).mse
    assert [row['systems'] for row in result['rollout']] == [10, 10]
    with pytest.raises(ValueError, match="must be of a potential"):
        load_potential(config.out)


@pytest.mark.slow
def test_learns(run, config):
    result = run(replace(config, sizes=(200, 40, 40), num_epochs=15,
                         batch_size=20, hidden_channels=16, conv='vector',
                         learning_rate=5e-3, num_rollout=1))
    row, = result['rollout']
    assert row['model'] < 0.8 * min(row['fitted velocity'],
                                    row['constant velocity'])


@pytest.mark.slow
def test_resume(run, config, monkeypatch):
    from torch_sake.forecasting.module import DynamicsModule
    expected = run(replace(config, out=config.out + '-whole'))
    step = DynamicsModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.step == 10:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DynamicsModule, 'training_step', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert load_checkpoint(os.path.join(config.out, LAST))[1]['step'] == 8
    with pytest.raises(ValueError, match="'out' must not hold a run already"):
        run(config)
    with pytest.raises(ValueError, match="'learning_rate' must be 0.002"):
        run(replace(config, resume=True, learning_rate=0.1))
    result = run(replace(config, resume=True))
    for name in (LAST, BEST):
        one, other = (load_checkpoint(os.path.join(out, name))[0]
                      for out in (config.out, config.out + '-whole'))
        assert one.keys() == other.keys()
        for key in one:
            assert torch.equal(one[key], other[key]), key
    del result['seconds'], expected['seconds']
    assert result == expected
    # Nothing is left to do, but the errors can be had again:
    again = run(replace(config, resume=True))
    assert again['test_mse'] == result['test_mse']
    with pytest.raises(ValueError, match="'resume' needs a run in 'out'"):
        run(replace(config, resume=True, out=config.out + '-none'))


def test_walk(run, mocap, tmp_path):
    result = run(DynamicsConfig(
        data='cmu-walk', root=str(mocap), horizon=5, model='EGNN',
        hidden_channels=8, num_layers=2, num_epochs=1, batch_size=2,
        num_rollout=3, out=str(tmp_path / 'run')))
    row = result['rollout'][2]
    assert row['horizons'] == 3 and row['systems'] > 0
    assert 'energy' not in row and row['no motion'] > 0


def test_molecules(run, tmp_path):
    """Without edge features, and with sizes of the data's own."""
    pos = numpy.random.default_rng(0).normal(size=(2, 1, 4, 3))
    numpy.savez(tmp_path / 'md17_ethanol.npz', z=numpy.array([8, 1, 6, 1]),
                R=pos[0] + pos[1] * numpy.linspace(0, 1, 60).reshape(-1, 1, 1),
                E=numpy.zeros(60), F=numpy.zeros((60, 4, 3)))
    result = run(DynamicsConfig(
        data='md17:ethanol', root=str(tmp_path), horizon=3, sizes=(10, 3, 3),
        conv='vector', hidden_channels=8, num_layers=2, num_epochs=1,
        batch_size=5, num_rollout=2, cutoff=2.0, out=str(tmp_path / 'run')))
    for row in result['rollout']:  # atoms move along straight lines
        assert row['constant velocity'] < 1e-9 < row['no motion']
        assert row['model'] < row['no motion']


def test_what_a_forecaster_is_given():
    generator = torch.Generator().manual_seed(0)
    pos, vel = torch.randn(2, 3, 2, generator=generator)
    good = dict(pos=pos, vel=vel, x=torch.zeros(3, 4),
                edge_attr=torch.zeros(2, 1),
                edge_index=torch.tensor([[0, 1], [1, 2]]))
    net = forecaster(in_channels=4)
    net(Data(**good))
    for change, match in (
            ({'vel': None}, r"it has no \['vel'\]"),
            ({'edge_index': None}, r"it has no \['edge_index'\]"),
            ({'edge_index': torch.tensor([[0, 1], [1, 3]])}, "'edge_index' m"),
            ({'vel': vel[:2]}, r"'vel' must have shape \[3, 2\]"),
            ({'vel': vel / 0}, "'vel' must be finite"),
            ({'x': torch.zeros(3, 1)}, r"'x' must have shape \[3, 4\]"),
            ({'x': None}, "'data' must have 'x' of 4 features"),
            ({'edge_attr': None}, "'data' must have 'edge_attr' of 1"),
            ({'edge_attr': torch.zeros(2, 3)}, r"'edge_attr' .* \[2, 1\]")):
        with pytest.raises(ValueError, match=match):
            net(Data(**{**good, **change}))
    with pytest.raises(ValueError, match="'x' of 0 features"):
        forecaster()(Data(**good))
    with pytest.raises(ValueError, match=r"'pos' must have shape .*3\]"):
        forecaster('GNN', in_channels=4)(Data(**good))
    with pytest.raises(TypeError, match="'data' must be of torch_geometric"):
        net(pos)


def test_trajectories_of_a_file(run, tmp_path, monkeypatch):
    """Twelve of four nodes in a plane, with all that a file may have."""
    monkeypatch.chdir(tmp_path)
    rng = numpy.random.default_rng(0)
    start, vel = rng.normal(size=(2, 12, 1, 4, 2))
    time = 0.5 * numpy.arange(9).reshape(-1, 1, 1)
    arrays = dict(pos=start + vel * time, time_step=0.5,
                  vel=numpy.broadcast_to(vel, (12, 9, 4, 2)),
                  x=rng.normal(size=(12, 4, 3)),
                  edge_index=[[0, 1, 2, 3], [1, 2, 3, 0]],
                  edge_attr=rng.normal(size=(4, 2)))
    numpy.savez('ring.npz', **arrays)
    config = DynamicsConfig(
        data='ring.npz', horizon=4, hidden_channels=8, num_layers=2,
        num_epochs=1, batch_size=5, num_rollout=2, velocity_weight=1.0)
    assert config.out == 'runs/ring-SAKENet'
    result = run(config)
    assert [row['systems'] for row in result['rollout']] == [10, 2]
    for row in result['rollout']:  # nodes move along straight lines
        assert row['constant velocity'] < 1e-9 < row['no motion']
        assert row['model'] < row['no motion']
    with pytest.raises(ValueError, match="'cutoff' must be larger than the s"):
        run(replace(config, out='narrow', cutoff=1e-6))
    settings = yaml.safe_load(open(os.path.join(config.out, 'config.yaml')))
    assert DynamicsConfig(**settings) == config
    net = load_forecaster(config.out)
    assert net.time == 2.0
    assert net.arguments['in_channels'] == 3 and (
        net.arguments['edge_dim'] == 2)
    run(replace(config, resume=True))
    with pytest.raises(ValueError, match="'num_rollout' must be at most 2 "
                       "for these data .got 3.: .*'horizon' must be at most"):
        run(replace(config, out='other', num_rollout=3))
    assert not os.path.exists('other')  # that was before training
    for changes in ({'pos': 2 * arrays['pos']}, {'time_step': 5.0}):
        numpy.savez('ring.npz', **{**arrays, **changes})
        with pytest.raises(ValueError, match="'resume' needs the data of the "
                           "run .what is in 'ring.npz' now differs"):
            run(replace(config, resume=True))
    numpy.savez('ring.npz', pos=arrays['pos'][:, :, :1])
    with pytest.raises(ValueError, match="systems must have edges .*got 0 ed"):
        run(replace(config, out='single', num_rollout=1))


def test_learning_rate(root):
    from torch_sake.forecasting.module import DynamicsModule
    config = DynamicsConfig(num_epochs=10, learning_rate=0.5)
    module = DynamicsModule(config, forecaster(), 100)
    rates = {}
    for step in (0, 5, 10, 505, 1000):
        module.step = step
        rates[step] = module.learning_rate
    assert rates[0] == pytest.approx(0.5 / 11)
    assert rates[5] == pytest.approx(0.5 * 6 / 11)
    assert rates[10] == 0.5 and rates[1000] == pytest.approx(0)
    assert rates[505] == pytest.approx(0.25)


def test_checkpoints_of_potentials_are_refused():
    path = os.path.join(os.path.dirname(__file__), '..', '..', 'examples',
                        'potentials', 'ethanol.safetensors')
    with pytest.raises(ValueError, match="must be of kind 'dynamics'"):
        load_forecaster(path)


def test_command(root, tmp_path, capsys):
    pytest.importorskip('jsonargparse')
    pytest.importorskip('pytorch_lightning')
    pytest.importorskip('matplotlib')
    from torch_sake.cli import main
    arguments = ['dynamics', '--root', str(root), '--sizes', '[24, 12, 10]',
                 '--model', 'Linear', '--num_epochs', '1', '--batch_size',
                 '8', '--out', str(tmp_path / 'run'), '--num_rollout', '2']
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert 'fitted velocity' in printed and 'true_energy' in printed
    assert main(arguments) == 2
    assert main([*arguments, '--resume']) == 0
