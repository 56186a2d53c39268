import pytest

from torch_sake.training import TrainConfig


@pytest.fixture
def config(water_file, tmp_path) -> TrainConfig:
    """A small run."""
    return TrainConfig(data=water_file, num_train=16, num_val=4,
                       out=str(tmp_path / 'run'), num_steps=12, batch_size=4,
                       val_interval=4, hidden_channels=8, num_layers=2,
                       num_rbf=8)
