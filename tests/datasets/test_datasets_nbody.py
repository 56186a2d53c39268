import math
import os

import numpy
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake import SAKENet
from torch_sake.datasets import NBody
from torch_sake.datasets.motion.particles import (
    SOFTENING,
    Forces,
    Particles,
    initial_particles,
    simulate,
)


def two(interaction, distance, coupling=-1.0, **options):
    """Two particles at rest, on a line."""
    pos = torch.zeros(1, 2, 3, dtype=torch.double)
    pos[0, 1, 0] = distance
    particles = Particles(pos, torch.zeros_like(pos), torch.tensor(
        [[1.0, coupling]]).double(), torch.tensor([[coupling]]).double())
    options = dict(dict(strength=1.0, max_force=1e9, cutoff=None), **options)
    return particles, Forces(particles, interaction, **options)


def test_forces():
    for interaction, expected in (
            ('charge', 1 / 4), ('spring', 2.0),
            ('gravity', 2 / (4 + SOFTENING**2)**1.5)):
        particles, forces = two(interaction, 2.0)
        force = forces(particles.pos)[0]
        assert force[0].tolist() == pytest.approx([expected, 0, 0])
        assert torch.equal(force[0], -force[1])  # they attract each other
    particles, forces = two('charge', 2.0, coupling=1.0, strength=3.0)
    assert float(forces(particles.pos)[0, 0, 0]) == pytest.approx(-0.75)
    particles, forces = two('charge', 0.01, max_force=100.0)
    assert forces(particles.pos)[0, 0].tolist() == [100.0, 0.0, 0.0]


def test_springs_oscillate():
    particles, forces = two('spring', 1.0)
    # The distance is a cosine of frequency sqrt(2).
    steps = (500, 1500, 4000)
    pos, _ = simulate(particles, forces, 1e-3, steps)
    for index, step in enumerate(steps):
        distance = float((pos[index, 0, 1] - pos[index, 0, 0])[0])
        assert distance == pytest.approx(math.cos(math.sqrt(2) * 1e-3 * step),
                                         abs=2e-3)


def energy(particles, pos, vel):
    distance = torch.cdist(pos, pos)
    n = pos.size(1)
    charge = particles.charge
    pairs = charge.unsqueeze(1) * charge.unsqueeze(2) / (
        distance + 1e30 * torch.eye(n))
    return 0.5 * vel.square().sum(dim=(1, 2)) + 0.5 * pairs.sum(dim=(1, 2))


def test_momentum_and_energy():
    generator = torch.Generator().manual_seed(0)
    particles = initial_particles(20, 5, 3, 'charge', 3.0, 0.5, generator)
    speed = particles.vel.norm(dim=2)
    assert torch.allclose(speed, torch.tensor(0.5).double())
    assert set(particles.charge.flatten().tolist()) == {1.0, -1.0}
    forces = Forces(particles, 'charge', 1.0, 1e9, None)
    pos, vel = simulate(particles, forces, 1e-3, (1000, ))
    assert torch.allclose(vel[0].sum(dim=1), particles.vel.sum(dim=1),
                          atol=1e-12)
    vel = vel[0] + 0.5e-3 * forces(pos[0])  # half a step more
    change = energy(particles, pos[0], vel) - energy(
        particles, particles.pos, particles.vel)
    # Where opposite charges meet, no fixed step is short enough.
    assert float(change.abs().median()) < 1e-4


@pytest.mark.slow
def test_published_statistics(tmp_path):
    """No motion 0.27 and constant velocity 0.11, each +- 0.01 at 2000."""
    data = NBody(tmp_path, 'test', sizes=(1, 1, 2000))._data
    still = (data.y - data.pos).square().mean()
    straight = (data.y - data.pos - data.vel).square().mean()
    assert float(still) == pytest.approx(0.27, abs=0.01)
    assert float(straight) == pytest.approx(0.11, abs=0.01)


SMALL = dict(sizes=(4, 3, 2), frames=(0, 1), stride=10)


def test_dataset(tmp_path):
    train = NBody(tmp_path, **SMALL)
    assert [len(NBody(tmp_path, split, **SMALL))
            for split in ('train', 'val', 'test')] == [4, 3, 2]
    assert len(os.listdir(tmp_path)) == 3
    data = train[1]
    assert data.pos.shape == data.y.shape == data.y_vel.shape == (5, 3)
    assert data.charge.shape == (5, 1) and data.pos.dtype == torch.float
    assert data.edge_index.shape == (2, 20) and data.x is None
    assert torch.equal(data.edge_attr, data.charge[data.edge_index[0]] *
                       data.charge[data.edge_index[1]])
    assert not torch.equal(train[0].pos, NBody(tmp_path, 'val',
                                               **SMALL)[0].pos)
    batch = next(iter(DataLoader(train, batch_size=4)))
    assert int(batch.edge_index.max()) == 19
    net = SAKENet(1, 8, 1, num_layers=1, edge_dim=1)
    _, pos, _ = net(batch.charge, batch.pos, batch.edge_index, vel=batch.vel,
                    edge_attr=batch.edge_attr)
    assert pos.shape == batch.y.shape


def test_written_once(tmp_path, monkeypatch):
    first = NBody(tmp_path, **SMALL)
    path, = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    again = NBody(tmp_path, **SMALL)
    assert path.stat().st_mtime_ns == before
    assert torch.equal(first._data.y, again._data.y)
    other = NBody(tmp_path / 'other', **SMALL)
    assert torch.equal(first._data.y, other._data.y)
    assert not torch.equal(first._data.y, NBody(tmp_path, seed=1,
                                                **SMALL)._data.y)
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match='not a complete .npz file'):
        NBody(tmp_path, **SMALL)
    numpy.savez(path, pos=numpy.zeros(3))
    with pytest.raises(ValueError, match='has no array'):
        NBody(tmp_path, **SMALL)


@pytest.mark.parametrize('interaction', ['charge', 'gravity'])
def test_cutoff(tmp_path, interaction):
    options = dict(SMALL, num_particles=40, num_dimensions=2, speed=0.1,
                   interaction=interaction, pos_std=3.0)
    far = NBody(tmp_path, cutoff=1e3, **options)
    every = NBody(tmp_path, **options)
    # Far from the cutoff its envelope is one:
    assert torch.allclose(far._data.y, every._data.y, atol=1e-6)
    assert torch.allclose(far[0].edge_attr, every[0].edge_attr)
    near = NBody(tmp_path, cutoff=1.0, **options)
    assert not torch.allclose(near._data.y, every._data.y, atol=1e-6)
    data = near[2]
    lengths = (data.pos[data.edge_index[0]] - data.pos[data.edge_index[1]]
               ).norm(dim=1)
    assert 0 < lengths.numel() and float(lengths.max()) < 1.0


def test_springs(tmp_path):
    data = NBody(tmp_path, interaction='spring', **SMALL)[0]
    assert set(data.edge_attr.flatten().tolist()) <= {-1.0, 0.0}
    table = torch.zeros(5, 5)
    table[data.edge_index[0], data.edge_index[1]] = data.edge_attr.view(-1)
    assert torch.equal(table, table.t()) and table.any()


@pytest.mark.parametrize('options, match', [
    (dict(split='all'), "'split' must be one of"),
    (dict(interaction='magnet'), "'interaction' must be one of"),
    (dict(num_particles=1), "'num_particles' must be at least 2"),
    (dict(frames=(4, 4)), "'frames' must be an input and a later target"),
    (dict(sizes=(1, 2)), "'sizes' must be those of"),
    (dict(timestep=0.0), "'timestep' must be positive"),
    (dict(interaction='spring', cutoff=1.0), "'cutoff' must not be given"),
])
def test_bad_input(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        NBody(tmp_path, **options)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('interaction', ['charge', 'spring', 'gravity'])
def test_default_type(interaction, tmp_path):
    """That of the numbers of another program does not matter."""
    options = dict(sizes=(2, 1, 1), frames=(0, 1), stride=2,
                   interaction=interaction)
    expected = NBody(tmp_path / 'a', **options)
    torch.set_default_dtype(torch.double)
    try:
        dataset = NBody(tmp_path / 'b', **options)
    finally:
        torch.set_default_dtype(torch.float)
    for key, value in expected._data.to_dict().items():
        assert value.dtype == dataset._data[key].dtype, key
        assert torch.equal(value, dataset._data[key]), key
