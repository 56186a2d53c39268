import pytest
import torch

from torch_sake.training import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.training.threads import limit_threads


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize('num_edges, expected', [
    (0, 1), (576, 1), (1400, 1), (2000, 2), (1e6, 4)])
def test_threads_follow_from_the_edges(num_edges, expected):
    assert limit_threads(num_edges) == torch.get_num_threads() == expected


def test_threads_of_the_user(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '4')
    assert limit_threads(10) == torch.get_num_threads() == 4


@pytest.mark.parametrize('options, expected', [
    (dict(batch_size=8, cutoff=None), 48),  # of three atoms each
    (dict(batch_size=8, cutoff=None, devices=2), 24),
    (dict(max_num_atoms=30, cutoff=None), 60),
    (dict(max_num_edges=500), 500)])
def test_edges_of_a_step(water_file, options, expected):
    pytest.importorskip('ase')
    config = TrainConfig(data=water_file, num_train=20, num_val=5, **options)
    data = TrainingData.from_config(config)
    assert data.edges_per_step(config) == pytest.approx(expected)


def test_training_limits_the_threads(water_file, tmp_path):
    pytest.importorskip('jsonargparse')
    pytest.importorskip('matplotlib')
    from torch_sake.cli import main
    assert main(['train', '--data', water_file, '--out',
                 str(tmp_path / 'run'), '--num_train', '20', '--num_val', '5',
                 '--num_steps', '2', '--hidden_channels', '8',
                 '--num_layers', '1']) == 0
    assert torch.get_num_threads() == 1
