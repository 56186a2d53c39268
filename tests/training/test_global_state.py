"""A run leaves what is global as it was, and does not depend on it."""

import os
import random
import signal
from dataclasses import replace

import numpy
import pytest
import torch

pytest.importorskip('ase')
lightning = pytest.importorskip('pytorch_lightning')

from torch_sake import (  # noqa: E402
    SAKE,
    SAKEConv,
    SAKENet,
    VectorSAKE,
    VectorSAKEConv,
    load_potential,
)
from torch_sake.benchmark.run import BenchmarkConfig, run_benchmark  # noqa: E402
from torch_sake.forecasting import DynamicsConfig, load_forecaster  # noqa: E402
from torch_sake.models import EGNN, GNN, RadialField  # noqa: E402
from torch_sake.nn import EGNNConv  # noqa: E402
from torch_sake.training import TrainConfig, Trainer  # noqa: E402


@pytest.fixture
def foreign():
    """Settings of another program."""
    before = snapshot()
    torch.set_default_dtype(torch.double)
    torch.set_default_device('meta')
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(2)
    handler = signal.signal(signal.SIGINT, lambda *args: None)
    yield
    signal.signal(signal.SIGINT, handler)
    torch.set_num_threads(before['threads'])
    torch.use_deterministic_algorithms(False)
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float)


def snapshot():
    return {
        'dtype': torch.get_default_dtype(),
        'device': torch.get_default_device(),
        'python': random.getstate(),
        'numpy': repr(numpy.random.get_state()),
        'torch': torch.get_rng_state().tolist(),
        'deterministic': torch.are_deterministic_algorithms_enabled(),
        'warn_only': torch.is_deterministic_algorithms_warn_only_enabled(),
        'precision': torch.get_float32_matmul_precision(),
        'benchmark': torch.backends.cudnn.benchmark,
        'threads': torch.get_num_threads(),
        'grad': torch.is_grad_enabled(),
        'handlers': [signal.getsignal(number) for number in signal.Signals],
        'cublas': os.environ.get('CUBLAS_WORKSPACE_CONFIG'),
    }


class Noise(lightning.Callback):
    """Draws numbers in the middle of a run, and may interrupt it."""
    def __init__(self, error=None):
        self.error = error

    def on_train_batch_end(self, *args):
        random.random(), numpy.random.rand(), torch.rand(1)
        if self.error is not None:
            raise self.error


@pytest.fixture
def config(water_file, tmp_path):
    return TrainConfig(data=water_file, out=str(tmp_path / 'run'),
                       num_train=8, num_val=4, batch_size=4, num_steps=4,
                       val_interval=2, hidden_channels=8, num_layers=2,
                       num_rbf=4, compile=False)


def weights(trainer):
    return trainer.potential.state_dict()


def assert_equal(state, other):
    assert state.keys() == other.keys()
    for key, value in state.items():
        assert value.dtype == other[key].dtype, key
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize('error', [None, KeyboardInterrupt(), ValueError()],
                         ids=repr)
@pytest.mark.parametrize('deterministic', [False, True])
def test_trainer_leaves_all_as_it_was(config, deterministic, error):
    before = snapshot()
    trainer = Trainer(replace(config, deterministic=deterministic))
    assert snapshot() == before
    try:
        trainer.fit([Noise(error)])
    except (KeyboardInterrupt, ValueError):
        assert error is not None
    assert snapshot() == before


def test_trainer_among_foreign_settings(config, request):
    expected = Trainer(config)
    start = {key: value.clone() for key, value in weights(expected).items()}
    expected.fit()

    request.getfixturevalue('foreign')
    before = snapshot()
    trainer = Trainer(replace(config, out=config.out + '-2'))
    assert snapshot() == before
    assert_equal(weights(trainer), start)
    trainer.fit()
    assert snapshot() == before
    assert_equal(weights(trainer), weights(expected))
    potential = load_potential(config.out)
    assert snapshot() == before
    # Uncertainties come after the training:
    assert_equal({key: value for key, value in potential.state_dict().items()
                  if not key.startswith('rigidity.')},
                 expected.average.module.state_dict())


def test_run_draws_its_own_numbers(config):
    """Those between building a trainer and training do not count."""
    class Draw(lightning.Callback):
        def on_train_batch_end(self, *args):
            drawn.append(float(torch.rand(1)))

    runs = []
    for index in range(2):
        drawn = []
        trainer = Trainer(replace(config, out=f'{config.out}-{index}'))
        torch.manual_seed(index)
        trainer.fit([Draw()])
        runs.append(drawn)
    assert runs[0] == runs[1] and len(runs[0]) == 4


@pytest.mark.slow
def test_dynamics(tmp_path, foreign):
    from torch_sake.forecasting.fit import run_dynamics
    config = DynamicsConfig(root=str(tmp_path), sizes=(8, 4, 4), batch_size=4,
                            num_epochs=1, hidden_channels=8, num_layers=2,
                            out=str(tmp_path / 'run'))
    before = snapshot()
    run_dynamics(config)
    assert snapshot() == before
    forecaster = load_forecaster(config.out)
    assert snapshot() == before
    assert next(forecaster.parameters()).dtype == torch.float


def test_benchmark(tmp_path):
    torch.set_num_threads(2)
    try:
        before = snapshot()
        run_benchmark(BenchmarkConfig(
            models=['VectorSAKE,hidden_channels=8,num_layers=1,num_rbf=4'],
            compiled=False, tasks=['inference'], atoms=[3], batch_sizes=[1],
            boxes=[], rounds=1, seconds=0.01, out=str(tmp_path)))
        assert snapshot() == before
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize('dtype', [torch.double, torch.half, torch.bfloat16],
                         ids=str)
@pytest.mark.parametrize('build', [
    lambda: SAKE(8, num_layers=2, num_rbf=4, dipole=True),
    lambda: VectorSAKE(8, num_layers=2, num_rbf=4,
                       atomref=torch.zeros(100, dtype=torch.float)),
    lambda: SAKENet(3, 8, 2, num_layers=2, edge_dim=2),
    lambda: SAKENet(3, 8, 2, num_layers=2, conv='vector'),
    lambda: EGNN(3, 8, 2, num_layers=2),
    lambda: GNN(3, 8, 2, num_layers=2),
    lambda: RadialField(8, num_layers=2),
    lambda: SAKEConv(3, 4, edge_dim=2),
    lambda: VectorSAKEConv(3, 4, vec_input=True),
    lambda: EGNNConv(4),
    lambda: SAKEConv(3, 4).edge_embedding,
    lambda: SAKEConv(3, 4).attention,
])
def test_weights_of_a_seed(build, dtype):
    """They are those of single precision, in the default type."""
    torch.manual_seed(1)
    expected, state = build(), torch.get_rng_state()
    torch.manual_seed(1)
    torch.set_default_dtype(dtype)
    try:
        module = build()
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float)
    assert torch.equal(torch.get_rng_state(), state)
    for parameter, other in zip(module.parameters(), expected.parameters(),
                                strict=True):
        assert parameter.dtype == dtype
        assert torch.equal(parameter, other.to(dtype))
