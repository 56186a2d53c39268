import pytest
import torch

from torch_sake.utils.device import choose_device


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert choose_device('auto') == torch.device('cuda')
    assert choose_device('cuda:1') == torch.device('cuda', 1)
    with pytest.raises(ValueError, match="2 GPUs here .got 'cuda:2'"):
        choose_device('cuda:2')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert choose_device('auto') == choose_device('cpu')
    with pytest.raises(ValueError, match="0 GPUs here .got 'cuda'"):
        choose_device('cuda')
    with pytest.raises(ValueError, match="'device' must be 'auto' or"):
        choose_device('toaster')
