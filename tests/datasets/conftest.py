import os
from pathlib import Path

import pytest


@pytest.fixture
def shared_data():
    r"""Folder of real data that is not part of the repository."""
    default = Path(__file__).resolve().parents[2] / '..' / 'shared'
    path = Path(os.environ.get('TORCH_SAKE_SHARED', default)) / 'data'
    if not path.is_dir():
        pytest.skip(f'There are no data in {path}')
    return path
