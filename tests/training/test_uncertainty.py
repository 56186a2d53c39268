"""Runs end with uncertainties of their best potential."""

import os.path as osp
from dataclasses import replace

import torch

import torch_sake.training.uncertainty as module
from torch_sake import fit_uncertainty, load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import read_frames
from torch_sake.training import Trainer


def best_of(config):
    return load_checkpoint(osp.join(config.out, 'best.safetensors'))


def test_each_run_ends_with_them(config):
    trainer = Trainer(config)
    trainer.fit()
    tensors, description = best_of(config)
    assert description['uncertainty'] == {'elements': [1, 8],
                                          'has_forces': True}
    potential = load_potential(config.out)
    frames = trainer.data.frames
    data = frames[int(trainer.data.split.val[0])]
    out = potential.uncertainty(data.z, data.pos.float())
    assert bool((out.forces > 0).all())
    # The same as from outside, of the frames in order:
    again = load_potential(config.out)
    again.rigidity = None
    fit_uncertainty(again, frames[trainer.data.split.train.sort().values],
                    frames[trainer.data.split.val])
    for one, other in zip(again.uncertainty(data.z, data.pos.float()), out):
        assert torch.allclose(one, other, rtol=1e-3)
    # Nothing else of the checkpoint differs from that of the last one:
    last = load_checkpoint(osp.join(config.out, 'last.safetensors'))[0]
    assert not any('rigidity' in name for name in last)
    assert not any('rigidity' in name for name in
                   trainer.average.module.state_dict())


def test_two_runs_are_the_same(config, tmp_path):
    files = []
    for name in ('a', 'b'):
        one = replace(config, out=str(tmp_path / name))
        Trainer(one).fit()
        files.append(best_of(one)[0])
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][name], files[1][name])
               for name in files[0])


def test_a_finished_run_gets_them_later(config, monkeypatch):
    """One that was killed before, or of an older version."""
    with monkeypatch.context() as patch:
        patch.setattr('torch_sake.training.trainer.add_uncertainty',
                      lambda *args: None)
        Trainer(config).fit()
    assert 'uncertainty' not in best_of(config)[1]
    Trainer(replace(config, resume=True)).fit()
    found = best_of(config)
    assert 'uncertainty' in found[1]
    monkeypatch.setattr(module, 'fit_rigidity', None)  # not once more
    Trainer(replace(config, resume=True)).fit()


def test_runs_that_begin_with_them(config, tmp_path):
    """They are of the weights they were fitted with."""
    Trainer(config).fit()
    tuned = replace(config, init=config.out, out=str(tmp_path / 'tuned'))
    trainer = Trainer(tuned)
    assert not trainer.potential.has_uncertainty
    trainer.fit()
    one, other = (best_of(run)[0]['potential.rigidity.factors']
                  for run in (config, tuned))
    assert one.shape == other.shape and not torch.equal(one, other)


class OwnModel(torch.nn.Module):
    def __init__(self, hidden_channels=8):
        super().__init__()
        self.lin = torch.nn.Linear(1, 1)

    def forward(self, z, pos, batch):
        energy = self.lin(pos.square().sum(dim=1, keepdim=True)).squeeze(1)
        return energy.new_zeros(int(batch.max()) + 1).index_add(0, batch,
                                                                energy)


def test_models_of_the_user_have_none(config):
    config = replace(config, hidden_channels=None, num_layers=None,
                     num_rbf=None)
    for name, model in (('a', OwnModel), ('b', OwnModel())):
        one = replace(config, out=osp.join(config.out, name))
        Trainer(one, model=model).fit()
        assert 'uncertainty' not in best_of(one)[1]


def test_frames_without_forces(config, water_file, tmp_path):
    import ase.io
    from ase.calculators.singlepoint import SinglePointCalculator
    images = ase.io.read(water_file, ':')
    for atoms in images:
        energy = atoms.get_potential_energy()
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        atoms.arrays.pop('forces', None)
    path = str(tmp_path / 'energies.extxyz')
    ase.io.write(path, images, format='extxyz')
    Trainer(replace(config, data=path)).fit()
    assert best_of(config)[1]['uncertainty']['has_forces'] is False
    potential = load_potential(config.out)
    data = read_frames(path)[0]
    energy, std = potential.energy_statistics(data.z, data.pos.float())
    assert float(std) > 0
