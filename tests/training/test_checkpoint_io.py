import os

import pytest
import torch

from torch_sake.checkpoint import load_checkpoint

pytest.importorskip('pytorch_lightning')
from torch_sake.runs.checkpoint_io import SafetensorsIO


def assert_same(value, expected):
    if isinstance(expected, torch.Tensor):
        assert value.dtype == expected.dtype and value.equal(expected)
    elif isinstance(expected, dict):
        assert list(value) == list(expected)
        for key, item in expected.items():
            assert_same(value[key], item)
    elif isinstance(expected, (list, tuple)):
        assert isinstance(value, list) and len(value) == len(expected)
        for item, other in zip(value, expected):
            assert_same(item, other)
    else:
        assert type(value) is type(expected) and value == expected


def test_round_trip(tmp_path):
    parameters = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(3)]
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    sum(parameter.square().sum() for parameter in parameters).backward()
    optimizer.step()
    checkpoint = {
        'optimizer_states': [optimizer.state_dict()],  # numbers as keys
        'potential': {'a.b': torch.randn(2).double(), 'a': torch.arange(3)},
        'random_state': torch.get_rng_state(),
        'mixed': {'scalar': torch.tensor(1.5), 'list': [torch.ones(2), 'x']},
        'empty': {}, 'nothing': None, 'flag': True, 'number': 0.1, 'names': [],
    }
    path = tmp_path / 'run' / 'x.safetensors'
    SafetensorsIO().save_checkpoint(checkpoint, path)
    loaded = SafetensorsIO().load_checkpoint(path)
    assert loaded.pop('format') and loaded.pop('versions')
    assert_same(loaded, checkpoint)
    other = torch.optim.AdamW(parameters, lr=0.2)
    other.load_state_dict(loaded['optimizer_states'][0])
    assert_same(other.state_dict()['state'], optimizer.state_dict()['state'])
    # By its name, a tensor is found without this class.
    tensors, _ = load_checkpoint(path)
    assert tensors['potential.a.b'].equal(checkpoint['potential']['a.b'])
    assert os.listdir(path.parent) == ['x.safetensors']


@pytest.mark.parametrize('checkpoint, match', [
    ({'a': {'b': object()}}, "got <class 'object'> as 'a.b'"),
    ({'a': [1, {1, 2}]}, "got <class 'set'> as 'a.1'"),
    ({'a.b': torch.zeros(1), 'a': {'b': torch.ones(1)}}, "name 'a.b'"),
])
def test_what_cannot_be_kept_leaves_the_file_alone(checkpoint, match,
                                                   tmp_path):
    path = tmp_path / 'x.safetensors'
    SafetensorsIO().save_checkpoint({'old': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=match):
        SafetensorsIO().save_checkpoint(checkpoint, path)
    assert 'old' in SafetensorsIO().load_checkpoint(path)
