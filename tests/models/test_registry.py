"""Models by name and by import path."""

import sys

import pytest
import torch

from torch_sake import SAKE, VectorSAKE
from torch_sake.models.registry import MODELS, find_model, name_of
from torch_sake.utils.names import is_import_path


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user, by the name 'mine'."""
    (tmp_path / 'mine.py').write_text(
        'import torch\n\n\nclass Model(torch.nn.Module):\n    pass\n\n\n'
        'number = 3\n')
    (tmp_path / 'needy.py').write_text('import no_such_package\n')
    (tmp_path / 'broken.py').write_text('raise KeyError(3)\n')
    (tmp_path / 'wrong.py').write_text('def (\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ('mine', 'needy'):
        sys.modules.pop(name, None)


def test_our_own():
    assert MODELS == {'SAKE': SAKE, 'VectorSAKE': VectorSAKE}
    for name, model in MODELS.items():
        assert find_model(name) is find_model(model) is model
        assert name_of(model) == name


def test_of_the_user(module):
    model = find_model('mine:Model')
    assert issubclass(model, torch.nn.Module)
    assert name_of(model) == 'mine:Model' and find_model(model) is model
    # Ours under another name is that of the user:
    other = type('SAKE', (SAKE,), {'__module__': 'mine'})
    assert name_of(other) == 'mine:SAKE'


def test_classes_without_a_name():
    class Model(torch.nn.Module):
        pass

    assert find_model(Model) is Model
    with pytest.raises(ValueError, match="'model' must be a class of a module"
                       ".*test_classes_without_a_name.<locals>.Model"):
        name_of(Model)


@pytest.mark.parametrize('name, error, match', [
    ('Sake', ValueError, r"one of \['SAKE', 'VectorSAKE'\] or an import "
     r"path .*\(got 'Sake'\)"),
    ('mine.Model', ValueError, "an import path such as"),
    ('mine:Model()', ValueError, "an import path such as"),
    ('yours:Model', ValueError, "'yours:Model': No module named 'yours'"),
    ('mine.more:Model', ValueError, "No module named 'mine.more'"),
    ('mine:Other', ValueError, "'mine' has no 'Other'"),
    ('mine:number', TypeError, "a class of torch.nn.Module, .*mine:number"),
    ('math:sqrt', TypeError, "a class of torch.nn.Module"),
    (dict, TypeError, "a class of torch.nn.Module"),
    (torch.nn.Linear(1, 1), TypeError, "a class of torch.nn.Module"),
    (None, TypeError, "a class of torch.nn.Module"),
    ('needy:Model', ModuleNotFoundError, "'needy:Model': .*no_such_package"),
    ('broken:Model', ImportError, "'model' .*'broken:Model': KeyError: 3"),
    ('wrong:Model', ImportError, "'model' .*SyntaxError.*wrong.py, line 1"),
], ids=str)
def test_what_is_none(module, name, error, match):
    with pytest.raises(error, match=match):
        find_model(name)


def test_import_paths():
    assert is_import_path('a:B') and is_import_path('a.b_c.d1:E')
    for name in ('SAKE', 'a.B', ':B', 'a:', 'a:B.C', 'a:b:C', '.a:B', 'a b:C',
                 'a..b:C', 'a/b:C', '1a:B', '', None, 3, ['a:B']):
        assert not is_import_path(name)
