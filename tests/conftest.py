import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Examples are drawn anew from a fixed seed: a failure comes back.
settings.register_profile('default', deadline=None, derandomize=True,
                          max_examples=20)
settings.load_profile('default')


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(12345)


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of benchmark data beside the checkout, where there is one."""
    default = Path(__file__).resolve().parents[2] / 'shared'
    path = Path(os.environ.get('TORCH_SAKE_SHARED', default))
    if not path.is_dir():
        pytest.skip('no shared folder beside the checkout')
    return path
