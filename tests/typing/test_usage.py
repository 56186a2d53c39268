r"""The public interface as typed programs use it: mypy checks this file in its
strict mode, and pytest runs it.
"""

import os
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor
from typing_extensions import assert_type

import torch_sake
from torch_sake import (
    SAKE,
    Ensemble,
    Potential,
    Property,
    RadiusInteractionGraph,
    SAKEConv,
    SAKENet,
    VectorSAKE,
    VectorSAKEConv,
    ZBLRepulsion,
    load_potential,
    load_property,
    neighbor_list,
)
from torch_sake.potentials.ensemble import EnsembleOutput

Z = torch.tensor([8, 1, 1])
POS = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def test_layers() -> None:
    edge_index, edge_shift = neighbor_list(POS, cutoff=5.0)
    assert_type(edge_index, Tensor)
    assert_type(edge_shift, Tensor)
    x = torch.randn(3, 8)
    conv = SAKEConv(8, 16, hidden_channels=16, heads=2, cutoff=5.0)
    out = conv.forward(x, POS, edge_index, edge_shift=edge_shift)
    assert_type(out, tuple[Tensor, Tensor, Tensor | None])
    VectorSAKEConv(8, 16).forward(x, POS, edge_index)
    net = SAKENet(8, 16, num_layers=2, out_channels=1)
    assert_type(net.forward(x, POS, edge_index),
                tuple[Tensor, Tensor, Tensor | None])
    RadiusInteractionGraph(cutoff=5.0)


def test_models_and_potentials() -> None:
    energies: list[Potential] = []
    for model in (SAKE(8, num_layers=1, cutoff=5.0),
                  VectorSAKE(8, num_layers=1)):
        assert_type(model.forward(Z, POS), Tensor)
        energies.append(Potential(model, energy_scale=2.0,
                                  prior=ZBLRepulsion(5.0)))
    potential = energies[1]
    energy, forces, stress = potential.forward(
        Z, POS, cell=9 * torch.eye(3), compute_stress=True)
    assert_type(energy, Tensor)
    assert_type(forces, Tensor)
    assert_type(stress, Tensor | None)
    assert_type(potential.energy(Z, POS), Tensor)
    assert_type(potential.site_energies(Z, POS), Tensor)
    ensemble = Ensemble([potential, potential])
    assert_type(ensemble.forward(Z, POS),
                tuple[Tensor, Tensor, Tensor | None])
    assert_type(ensemble.statistics(Z, POS), EnsembleOutput)
    assert_type(torch_sake.__version__, str)
    assert_type(torch_sake.pretrained(), dict[str, str])


def from_files(path: os.PathLike[str]) -> tuple[Potential, Property]:
    return load_potential(path), load_property(str(path))


def test_calculators() -> None:
    pytest.importorskip('ase')
    from ase import Atoms

    from torch_sake.calculators import Evaluation, Evaluator, SAKECalculator
    potential = Potential(VectorSAKE(8, num_layers=1))
    evaluator = Evaluator(potential, device='cpu', dtype=torch.float64)
    result = evaluator(Z.numpy(), POS.double().numpy())
    assert_type(result, Evaluation)
    assert_type(result.energy, float)
    assert_type(result.forces, numpy.ndarray)
    atoms = Atoms('OH2', POS.numpy(), calculator=SAKECalculator(potential))
    assert numpy.abs(atoms.get_forces() - result.forces).max() < 1e-4


def test_training(water_file: str, tmp_path: Path) -> None:
    pytest.importorskip('pytorch_lightning')
    from torch_sake.simulation import MDConfig, Simulation
    from torch_sake.training import TrainConfig, Trainer
    config = TrainConfig(data=water_file, num_train=16, num_val=4, cutoff=None,
                         out=str(tmp_path / 'run'), num_steps=2, batch_size=4,
                         model='VectorSAKE', hidden_channels=8, num_layers=1)
    trainer = Trainer(config)
    trainer.fit()
    assert_type(trainer.step, int)
    assert_type(config.out, str | None)
    potential, description = load_potential(tmp_path / 'run'), config.model
    assert_type(potential, Potential)
    assert description == 'VectorSAKE'
    simulation = Simulation(MDConfig(str(tmp_path / 'run'), num_steps=1,
                                     compile=False, ensemble='nve'))
    results: dict[str, Any] = vars(simulation)
    assert results
