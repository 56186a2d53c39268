import pytest


@pytest.fixture
def small():
    """The arguments of a small run."""
    return ['--num_train', '16', '--num_val', '4', '--num_steps', '6',
            '--batch_size', '4', '--val_interval', '3', '--hidden_channels',
            '8', '--num_layers', '1', '--num_rbf', '4']
