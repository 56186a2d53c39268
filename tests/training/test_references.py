import torch

from torch_sake.training.references import (fit_atomic_energies,
                                            sum_atomic_energies)


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
