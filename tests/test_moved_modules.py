import importlib
import subprocess
import sys

import pytest

from torch_sake.utils.moved import MOVED


@pytest.mark.parametrize('old', sorted(MOVED))
def test_old_names_warn_and_work(old):
    new = importlib.import_module(f'torch_sake.{MOVED[old]}')
    sys.modules.pop(f'torch_sake.{old}', None)
    with pytest.warns(FutureWarning, match=f"'torch_sake.{MOVED[old]}'"):
        module = importlib.import_module(f'torch_sake.{old}')
    names = getattr(new, '__all__', [
        name for name in vars(new) if not name.startswith('_')])
    assert names
    for name in names:
        assert getattr(module, name) is getattr(new, name)


@pytest.mark.slow
def test_imports_as_they_were():
    code = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    from torch_sake.dynamics import DynamicsConfig
    from torch_sake.dynamics.evaluation import Rollout
    import torch_sake.files
kinds = [warning.category for warning in caught
         if "'torch_sake." in str(warning.message)]
assert kinds == 3 * [FutureWarning], kinds
from torch_sake import forecasting
from torch_sake.forecasting import evaluation
assert DynamicsConfig is forecasting.DynamicsConfig
assert Rollout is evaluation.Rollout
assert torch_sake.files.PathLike is not None
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize('old', sorted(MOVED))
def test_old_name_before_all_else(old):
    """Nothing is imported in the middle of another import."""
    new = MOVED[old]
    code = f"""
import torch_sake.{old} as module
from torch_sake import Potential
import torch_sake.{new} as new
name = next(name for name in vars(new) if not name.startswith('_'))
assert getattr(module, name) is getattr(new, name)
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True,
                   timeout=300)


def test_unknown_names():
    with pytest.raises(ModuleNotFoundError, match='torch_sake.nonsense'):
        importlib.import_module('torch_sake.nonsense')
    with pytest.warns(FutureWarning):
        with pytest.raises(ImportError, match='nothing'):
            from torch_sake.dynamics.evaluation import nothing  # noqa: F401
