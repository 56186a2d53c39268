import pytest
import torch

from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.training.references import AtomicEnergyFit, fit_atomic_energies


def sum_atomic_energies(energies, z, batch, num_graphs):
    return sum_edges(energies[z], Segments(batch, num_graphs))


def test_energies_of_elements_are_found():
    z = torch.tensor([6, 1, 1, 1, 1, 8, 1, 1, 6, 8, 8])
    batch = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    references = torch.zeros(100).double()
    references[[1, 6, 8]] = torch.tensor([-13.6, -1029.5, -2042.1],
                                          dtype=torch.double)
    energy = sum_atomic_energies(references, z, batch, 3)
    assert abs(float(energy[0]) + 1029.5 + 4 * 13.6) < 1e-9
    fitted = fit_atomic_energies(z, batch, energy)
    assert torch.allclose(fitted, references, atol=1e-8, rtol=0)


def test_one_composition():
    z = torch.tensor([8, 1, 1] * 4)
    batch = torch.arange(4).repeat_interleave(3)
    energy = torch.tensor([-2000.1, -2000.3, -2000.2, -2000.2]).double()
    fitted = fit_atomic_energies(z, batch, energy)
    total = sum_atomic_energies(fitted, z, batch, 4)
    assert torch.allclose(total, energy.mean().expand(4), atol=1e-9, rtol=0)


@pytest.mark.parametrize('elements', [[1, 6, 8], [6]])
def test_fit_in_batches(elements):
    # Of one composition or of many; the first batches lack elements.
    generator = torch.Generator().manual_seed(0)
    fit, frames = AtomicEnergyFit(), []
    for number in range(1000):
        kinds = torch.tensor(elements[:1 + number // 100])
        z = kinds[torch.randint(kinds.numel(), (21, ), generator=generator)]
        batch = torch.arange(3).repeat_interleave(7)
        energy = -1e4 * (z.view(3, 7) - 0.5).sum(dim=1).double()
        energy += torch.randn(3, generator=generator)
        frames.append((z, batch + 3 * number, energy))
        fit.add(z, batch, energy)
    z, batch, energy = (torch.cat(values) for values in zip(*frames))
    counts = torch.zeros(3000, 100).double()
    counts.index_put_((batch, z), torch.ones(()).double(), accumulate=True)
    expected = torch.linalg.pinv(counts[:, elements]) @ energy
    fitted, rest = fit.solve()
    assert torch.allclose(fitted[elements], expected, atol=1e-7, rtol=0)
    assert fitted.count_nonzero() == len(elements)
    left = energy - sum_atomic_energies(fitted, z, batch, 3000)
    assert rest == pytest.approx(float(left.square().mean().sqrt()), abs=1e-7)


def test_fit_of_one_composition_in_batches():
    fit, z = AtomicEnergyFit(), torch.tensor([8, 1, 1] * 7)
    batch = torch.arange(7).repeat_interleave(3)
    generator = torch.Generator().manual_seed(0)
    energy = -2e3 + torch.randn(3000, 7, dtype=torch.double,
                                generator=generator)
    for part in energy:
        fit.add(z, batch, part)
    fitted, rest = fit.solve()
    # Of least norm: twice as much from twice as many atoms.
    assert fitted[1] == pytest.approx(2 * fitted[8])
    assert fitted[8] + 2 * fitted[1] == pytest.approx(energy.mean())
    assert rest == pytest.approx(energy.std(correction=0))
