"""A file names no code: the model of a checkpoint that is not of this package
comes from the user.
"""

import sys

import numpy
import pytest
import torch

from torch_sake import Potential, Property, load_potential, load_property
from torch_sake.calculators import Evaluator
from torch_sake.checkpoint import save_checkpoint
from torch_sake.models.registry import find_model
from torch_sake.potentials.load import load_checkpoints, load_predictor

Z, POS = torch.tensor([8, 1]), torch.tensor([[0.0, 0, 0], [0, 0, 1.1]])
MODULE = '''
import os
import torch

open(os.environ['TOUCHED'], 'w').close()


class Model(torch.nn.Module):
    def __init__(self, size, cutoff=None):
        super().__init__()
        self.scale = float(torch.ones(size).sum())  # needs a value
        self.lin = torch.nn.Linear(1, size)

    def forward(self, z, pos, batch):
        size = (pos - pos.mean(dim=0)).norm(dim=1, keepdim=True)
        out = self.lin(size).sum(dim=1) / self.scale
        return torch.zeros(int(batch.max()) + 1).index_add(0, batch, out)
'''


@pytest.fixture
def touched(tmp_path, monkeypatch):
    """A file that is there once the module 'mine' has been imported."""
    folder = tmp_path / 'modules'
    folder.mkdir()
    (folder / 'mine.py').write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv('TOUCHED', str(tmp_path / 'touched'))
    yield tmp_path / 'touched'
    sys.modules.pop('mine', None)


@pytest.fixture
def path(tmp_path, touched):
    """The checkpoint of a potential around 'mine:Model'."""
    return write(tmp_path / 'mine.safetensors')


def write(path, name='mine:Model', kind='potential', **arguments):
    torch.manual_seed(0)
    description = {
        'kind': kind, 'energy_scale': 2.0, 'elements': [1, 8],
        'model': {'name': name, 'arguments': {'size': 3, **arguments}},
        'units': {'length': 'Angstrom', 'energy': 'eV'}}
    if kind == 'property':
        description.update(label='homo', readout='mean',
                           units={'length': 'Angstrom', 'homo': 'eV'})
    save_checkpoint(path, {'potential.model.lin.weight': torch.randn(3, 1),
                           'potential.model.lin.bias': torch.randn(3)},
                    description)
    return path


def test_nothing_is_imported(path, touched, capsys):
    pytest.importorskip('ase')
    pytest.importorskip('jsonargparse')
    from torch_sake.calculators import SAKECalculator
    from torch_sake.cli import main
    for load in (load_potential, load_predictor, load_checkpoints, Evaluator,
                 SAKECalculator, lambda path: load_checkpoints([path, path])):
        with pytest.raises(ValueError, match="says that its model is 'mine:Mo"
                           "del', .* say so by model='mine:Model'") as caught:
            load(path)
        assert str(path) in str(caught.value)
    structure = path.parent / 'a.xyz'
    structure.write_text('2\n\nO 0 0 0\nH 0 0 1\n')
    for command in (['evaluate', '--data', str(structure)],
                    ['md', '--structure', str(structure)],
                    ['relax', '--structure', str(structure)]):
        assert main([*command, '--checkpoint', str(path)]) == 2
        assert "its model is 'mine:Model'" in capsys.readouterr().err
    write(path, kind='property')
    with pytest.raises(ValueError, match="its model is 'mine:Model'"):
        load_property(path)
    assert 'mine' not in sys.modules and not touched.exists()


@pytest.mark.parametrize('name', [
    'os:system', 'no_such_package.module:Model', 'torch.nn:Linear',
    'torch_sake:SAKE', 'torch_sake.models:VectorSAKE'])
def test_whatever_it_names(name, path, monkeypatch):
    import importlib
    monkeypatch.setattr(importlib, 'import_module', None)
    write(path, name)
    with pytest.raises(ValueError, match=f"its model is '{name}'"):
        load_potential(path)


@pytest.mark.parametrize('name', ['mine.Model', '../mine:Model', 'mine:',
                                  'mine:Model()', 'mine:Model:x', '', ':'])
def test_names_of_nothing(name, path, touched):
    write(path, name)
    with pytest.raises(ValueError, match="'model.name' must be one of"):
        load_potential(path, model='mine:Model')
    with pytest.raises(ValueError, match="'model.name' must be one of"):
        load_potential(path)


def test_the_user_names_it(path, touched):
    potential = load_potential(path, model='mine:Model')
    assert isinstance(potential, Potential) and touched.exists()
    model = find_model('mine:Model')
    assert type(potential.model) is model
    energy, forces, _ = potential(Z, POS)
    assert energy.isfinite() and forces.any()
    for loaded in (load_potential(path, model=model),
                   load_predictor(path, 'potential', model=model)[0],
                   load_checkpoints(path, 'mine:Model')[0],
                   load_checkpoints([path, path], model)[0]):
        assert torch.allclose(loaded(Z, POS)[1], forces)
    out = Evaluator(path, model='mine:Model')(Z.numpy(), POS.numpy())
    assert numpy.allclose(out.forces, forces.detach())
    write(path, kind='property')
    assert isinstance(load_property(path, model=model), Property)


def test_wrong_models(path, tmp_path):
    with pytest.raises(ValueError, match="'yours:Model': No module named"):
        load_potential(path, model='yours:Model')
    with pytest.raises(TypeError, match="'model' must be a class of torch.nn"):
        load_potential(path, model='math:sqrt')
    with pytest.raises(ValueError, match=r"no arguments \['size'\]"):
        load_potential(path, model='VectorSAKE')
    with pytest.raises(ValueError, match="'model' must be given with check"):
        Evaluator(load_potential(write(path), model='mine:Model'),
                  model='mine:Model')
    own = write(tmp_path / 'own.safetensors', 'SAKE')
    with pytest.raises(ValueError, match="'model' must be 'SAKE', as the"):
        load_potential(own, model='mine:Model')
    for size, match in ((10**9, "'size' must be at most 1000"),
                        (4, r"shape \[4, 1\].*\[3, 1\]")):
        with pytest.raises(ValueError, match=match):
            load_potential(write(path, size=size), model='mine:Model')
    with pytest.raises(ValueError, match="unexpected keyword .*'colour'"):
        load_potential(write(path, colour='red'), model='mine:Model')
