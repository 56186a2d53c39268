"""Uncertainties that are fitted to frames."""

import copy
from pathlib import Path

import pytest
import torch

import torch_sake
from torch_sake import SAKE, Potential, VectorSAKE, fit_uncertainty
from torch_sake.datasets import Frames
from torch_sake.datasets.frames.joined_frames import join_frames
from torch_sake.evaluation.fit_uncertainty import (
    Errors,
    _calibrate,
    fit_rigidity,
    sample,
)
from torch_sake.potentials.load import load_potential
from torch_sake.potentials.uncertainty import Rigidity, factorize

OLD_FILES = Path(__file__).resolve().parents[1] / 'old_files'

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def make_frames(number, width=0.1, forces=True, energies=True, z=(8, 1, 1, 6)):
    generator = torch.Generator().manual_seed(number)
    base = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1.0, 0], [0, 0, 1.2]])
    pos = [base + width * torch.randn(4, 3, generator=generator)
           for _ in range(number)]
    energy = [float(one.square().sum()) if energies else None
              for one in pos]
    extra = {'force': [-2 * one for one in pos]} if forces else {}
    return Frames(z=[torch.tensor(z)] * number, pos=pos, energy=energy,
                  name='springs', units=UNITS, source='test', **extra)


@pytest.fixture
def potential():
    return Potential(VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=4.0),
                     atomic_energies=torch.zeros(100))


def test_moments_and_scales(potential):
    """Against loops over atoms, with the regularization that was chosen."""
    train, val = make_frames(30), make_frames(12)
    out = fit_uncertainty(potential, train, val, batch_size=7)
    assert out is potential and potential.has_force_uncertainty
    rigidity = potential.rigidity
    assert rigidity.elements == [1, 6, 8]

    def features(frames):
        rows = []
        for data in frames:
            x = potential.model.encode(data.z, data.pos.float()).detach()
            rows.append(torch.cat([x.double(), torch.ones(4, 1)], dim=1))
        return torch.stack(rows)  # [M, 4, F]

    f, number = features(train), 9
    z = train[0].z
    moments = torch.stack([
        sum(torch.outer(x, x) for x in f[:, z == element].flatten(0, 1))
        for element in rigidity.elements])
    counts = torch.tensor([60.0, 30.0, 30.0]).double()
    inverse = rigidity.factors.mT @ rigidity.factors
    # Whatever the regularization is, it is on the diagonal:
    mean = moments.sum(0) / 120
    cov = (moments + number * mean) / (counts + number).view(-1, 1, 1)
    rest = torch.linalg.inv(inverse) - cov
    share = rest.diagonal(dim1=1, dim2=2).mean(1) / cov.diagonal(
        dim1=1, dim2=2).mean(1)
    assert float(share.max()) < 1.1e-2
    eye = torch.eye(number).double() * rest.diagonal(
        dim1=1, dim2=2).mean(1).view(-1, 1, 1)
    assert torch.allclose(rest, eye, atol=1e-6 * float(cov.max()))
    v = features(val)
    q = torch.stack([(x @ inverse[rigidity.elements.index(int(number))]
                      * x).sum(1) for number, x in zip(z, v.mT.mT.transpose(
                          0, 1))], dim=1)  # [M, 4]
    ratios, energies = [], []
    for row, data in enumerate(val):
        energy, forces, _ = potential(data.z, data.pos.float())
        ratios.append((forces.double() - data.force).square().mean(
            dim=1).detach() / q[row].square())
        energies.append(float((energy - data.energy).detach()))
    ratios = torch.stack(ratios)
    shared = ratios.mean()
    for row, element in enumerate(rigidity.elements):
        of = ratios[:, z == element]
        scale = ((10 * shared + of.sum()) / (10 + of.numel())).sqrt()
        assert float(rigidity.scales[row, 0]) == pytest.approx(
            float(scale), rel=1e-3)
    length = rigidity.scales[:, 1] / rigidity.scales[:, 0]
    assert torch.allclose(length, length[:1].expand(3))
    # The mean square of energies in units of their deviations is one:
    std = torch.stack([potential.uncertainty(data.z, data.pos.float()).energy
                       for data in val]).flatten()
    z2 = (torch.tensor(energies).double() / std).square().mean()
    assert float(z2) == pytest.approx(1.0, rel=1e-3)


def test_calibration_on_synthetic_errors():
    """Normal errors of known widths: the scales are found again."""
    torch.manual_seed(0)
    number, elements = 20_000, [1, 8]
    f = torch.randn(2, 100, 4, dtype=torch.double)
    rigidity = Rigidity(elements, 4)
    rigidity.factors = factorize(f.mT @ f, torch.full((2, ), 100.0).double(),
                                 1e-6)
    z = torch.tensor(elements)[torch.randint(2, (number, ))]
    x = torch.randn(number, 3) * torch.rand(number, 1) * 3
    x = torch.nn.functional.pad(x, (0, 1), value=1.0)
    q = rigidity.distances(z, x)
    true = torch.where(z == 1, 0.05, 0.2)
    error = torch.randn(number, 3).double() * (true * q).unsqueeze(1)
    graph = torch.arange(number) // 4
    variance = torch.zeros(number // 4).double().index_add(
        0, graph, (0.3 * true * q).square())
    energy = torch.randn(number // 4).double() * variance.sqrt()
    errors = Errors(z, x, error.square().mean(dim=1), graph, energy)
    _calibrate(rigidity, errors)
    found = rigidity.scales
    assert found[:, 0].tolist() == pytest.approx([0.05, 0.2], rel=0.03)
    assert found[:, 1].tolist() == pytest.approx([0.015, 0.06], rel=0.05)
    out = rigidity(z, x, graph, number // 4)
    inside = (energy.abs() <= out.energy).double().mean()
    assert float(inside) == pytest.approx(0.683, abs=0.02)


def test_what_is_far_is_uncertain(potential):
    fit_uncertainty(potential, make_frames(50), make_frames(20))
    near, far = (next(iter(torch_sake.evaluation.fit_uncertainty.DataLoader(
        make_frames(21, width), batch_size=21))) for width in (0.1, 0.4))
    one, other = (potential.uncertainty(data.z, data.pos.float(), data.batch)
                  for data in (near, far))
    assert float(other.forces.median()) > 1.5 * float(one.forces.median())
    assert float(other.energy.median()) > 1.5 * float(one.energy.median())


def test_it_is_deterministic_and_leaves_predictions(potential):
    other = copy.deepcopy(potential)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    fit_uncertainty(potential, make_frames(9), make_frames(5))
    assert torch.equal(state, torch.get_rng_state())
    fit_uncertainty(other, make_frames(9), make_frames(5))
    for one, again in zip(potential.rigidity.buffers(),
                          other.rigidity.buffers()):
        assert torch.equal(one, again)
    assert all(value.grad is None for value in potential.parameters())
    fit_uncertainty(potential, make_frames(9), make_frames(5))  # once more
    assert torch.equal(potential.rigidity.scales, other.rigidity.scales)


def test_without_forces(potential):
    fit_uncertainty(potential, make_frames(9, forces=False),
                    make_frames(5, forces=False))
    assert potential.has_uncertainty and not potential.has_force_uncertainty
    data = make_frames(5)[0]
    out = potential.uncertainty(data.z, data.pos.float())
    assert bool(out.forces.isnan().all())
    assert bool((out.energy > 0).all())


def test_samples():
    assert sample(make_frames(9), 4).tolist() == [0, 3, 6]
    assert sample(make_frames(4), 9).tolist() == [0, 1, 2, 3]
    rare = join_frames([make_frames(5), make_frames(1, z=(8, 1, 1, 7)),
                        make_frames(5)])
    assert sample(rare, 3).tolist() == [0, 4, 8, 5]


def test_frames_of_other_elements_are_left_out(potential):
    val = make_frames(5)
    mixed = join_frames([val[:2], make_frames(3, z=(8, 1, 1, 7)), val[2:]])
    train = make_frames(9)
    one, other = (copy.deepcopy(fit_uncertainty(potential, train, frames)
                                .rigidity) for frames in (val, mixed))
    assert torch.allclose(one.scales, other.scales, rtol=1e-5)
    assert torch.equal(one.factors, other.factors)


def test_bad_input(potential):
    frames = make_frames(3)
    for change, error, words in (
            ({'potential': potential.model}, TypeError,
             "'potential' must be a Potential or the path"),
            ({'potential': 'runs/a'}, ValueError, 'runs/a'),
            ({'train': [frames[0]]}, TypeError, "'train' must be Frames"),
            ({'val': frames[:0]}, ValueError, "'val' must have a frame"),
            ({'val': make_frames(3, energies=False)}, ValueError,
             "'val' must have frames with energies"),
            ({'val': make_frames(3, z=(8, 1, 1, 7))}, ValueError,
             "of elements that are in 'train'"),
            ({'batch_size': 0}, ValueError, "'batch_size' must be at least 1"),
            ({'potential': Potential(SAKE(8, num_layers=1, readout='mean'))},
             TypeError, "'model' must be SAKE or VectorSAKE, with a sum")):
        with pytest.raises(error, match=words):
            fit_uncertainty(**{'potential': potential, 'train': frames,
                               'val': frames, **change})
    assert potential.rigidity is None


def test_old_checkpoints_get_some(tmp_path):
    path = tmp_path / 'best.safetensors'
    path.write_bytes((OLD_FILES / 'potential.safetensors').read_bytes())
    old = load_potential(path)
    assert not old.has_uncertainty
    elements = torch_sake.checkpoint.load_checkpoint(path)[1]['elements']
    z = (elements * 4)[:4]
    frames = make_frames(8, z=z)
    dtype = next(old.parameters()).dtype
    old = fit_uncertainty(path, frames[:4], frames)
    old = fit_uncertainty(str(path), frames, frames)  # in the place of those
    new, data = load_potential(path), frames[0]
    pos = data.pos.to(dtype)
    assert torch.equal(new.energy(data.z, pos), old.energy(data.z, pos))
    for one, other in zip(new.uncertainty(data.z, pos),
                          old.uncertainty(data.z, pos)):
        assert torch.equal(one, other)


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / 'best.safetensors'
    path.write_bytes((OLD_FILES / 'potential.safetensors').read_bytes())
    z = (torch_sake.checkpoint.load_checkpoint(path)[1]['elements'] * 4)[:4]
    frames = make_frames(8, z=z)
    other = frames.in_units({'length': 'Angstrom', 'energy': 'kcal/mol'})
    with pytest.raises(ValueError, match="'val' must have the units of the"):
        fit_uncertainty(path, frames, other)
    with pytest.raises(ValueError, match='not one of the package'):
        fit_uncertainty('pretrained:xtb-organic', frames, frames)


def test_charges_of_frames(monkeypatch):
    """They come from the info of the frames."""
    potential = Potential(VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=4.0,
                                     embed_charge=True))
    frames = make_frames(12)
    charged = Frames([data.z for data in frames],
                     [data.pos for data in frames],
                     [data.energy for data in frames],
                     [data.force for data in frames], name='springs',
                     units=UNITS, source='test',
                     infos=[{'charge': 1, 'spin': 2}] * 12)
    scales = [fit_uncertainty(potential, frames, some).rigidity.scales
              for some in (frames, charged)]
    assert not torch.allclose(*scales)


def test_more_atoms_in_small_batches(potential):
    """How frames are put into batches makes no difference."""
    from torch_geometric.loader import DataLoader
    frames = make_frames(10)
    one, other = (fit_rigidity(potential, *(DataLoader(
        frames, batch_size=size) for _ in range(2))) for size in (1, 10))
    assert torch.allclose(one.scales, other.scales, rtol=1e-3)
