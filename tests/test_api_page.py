"""The page of the interface has all public names, and nothing else."""

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip('openmm')
PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'api.rst'
PACKAGES = ['torch_sake', 'torch_sake.calculators', 'torch_sake.datasets',
            'torch_sake.forecasting', 'torch_sake.learning',
            'torch_sake.models', 'torch_sake.neighbors', 'torch_sake.nn',
            'torch_sake.sampling', 'torch_sake.simulation',
            'torch_sake.testing', 'torch_sake.training']
# Of modules with other names that are not public:
ONE_BY_ONE = ['torch_sake.checkpoint.load_checkpoint',
              'torch_sake.checkpoint.save_checkpoint',
              'torch_sake.models.readout.Readout',
              'torch_sake.models.registry.find_model',
              'torch_sake.nn.kinetic_conv.EdgeGeometry',
              'torch_sake.ops.scatter.sum_edges',
              'torch_sake.optim.muon.Muon',
              'torch_sake.potentials.uncertainty.Rigidity',
              'torch_sake.potentials.uncertainty.Statistics',
              'torch_sake.potentials.uncertainty.Uncertainty',
              'torch_sake.training.losses.WeightedLoss',
              'torch_sake.transforms.NeighborList',
              'torch_sake.utils.inputs.DataSet']


def find(name):
    module, name = name.rsplit('.', 1)
    return getattr(importlib.import_module(module), name)


def test_all_public_names_and_nothing_else():
    shown = re.findall(r'^\.\. auto(?:class|function):: (\S+)$',
                       PAGE.read_text(), re.M)
    public = {f'{package}.{name}' for package in PACKAGES
              for name in importlib.import_module(package).__all__
              if name != '__version__'}.union(ONE_BY_ONE)
    assert set(shown) <= public
    objects = [find(name) for name in shown]
    assert len(set(map(id, objects))) == len(objects)  # each of them once
    missing = [name for name in public if find(name) not in objects]
    assert not missing
