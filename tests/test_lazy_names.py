import ast
import importlib
import inspect
import pickle
import subprocess
import sys

import pytest

import torch_sake

PACKAGES = ['torch_sake', 'torch_sake.calculators', 'torch_sake.datasets',
            'torch_sake.forecasting', 'torch_sake.simulation',
            'torch_sake.training']


@pytest.mark.parametrize('name', PACKAGES)
def test_names(name):
    """They are what the imports say that type checkers see."""
    package = importlib.import_module(name)
    pytest.importorskip('openmm')
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(package)))
               if isinstance(node, ast.ImportFrom)
               and node.module.startswith(name)]
    homes = {alias.name: node.module for node in imports
             for alias in node.names
             if not node.module.startswith('torch_sake.utils')}
    assert set(package.__all__) == homes.keys()
    for key, home in homes.items():
        assert getattr(package, key) is getattr(
            importlib.import_module(home), key)
        assert key in dir(package)


def test_modules_and_unknown_names():
    assert torch_sake.nn.SAKEConv is torch_sake.SAKEConv
    for name in ('MACE', '__path_of_nothing__', 'nn_'):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(torch_sake, name)
    with pytest.raises(ImportError, match='MACE'):
        from torch_sake import MACE  # noqa: F401
    names = {}
    exec('from torch_sake import *', names)
    assert names['SAKE'] is torch_sake.SAKE
    assert pickle.loads(pickle.dumps(torch_sake.SAKE)) is torch_sake.SAKE


@pytest.mark.parametrize('statement', [
    'from torch_sake.nn import SAKEConv', 'import torch_sake.checkpoint',
    'from torch_sake.datasets import Frames', 'import torch_sake.neighbors'])
@pytest.mark.slow
def test_no_warning_of_torch_geometric(statement):
    code = f"""
import warnings, torch
script = torch.jit.script
def warn(*args, **kwargs):
    warnings.warn('`torch.jit.script` is deprecated', FutureWarning)
    return script(*args, **kwargs)
torch.jit.script = warn
warnings.simplefilter('error', FutureWarning)
{statement}
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=300)
