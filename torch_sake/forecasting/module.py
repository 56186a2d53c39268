from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypedDict

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets.frames.split import epoch_order
from torch_sake.forecasting.config import DynamicsConfig
from torch_sake.forecasting.data import Batches, reverse_time
from torch_sake.forecasting.evaluation import EVAL_BATCH_SIZE
from torch_sake.forecasting.forecaster import Forecaster
from torch_sake.optim.schedule import Schedule
from torch_sake.runs.module import Metrics, RunModule
from torch_sake.runs.resume import RunState, Weights

WARMUP = 0.01  # of the steps


class DynamicsData(LightningDataModule):
    r"""The training systems, in an order of its own in each epoch that follows
    from the seed and the number of the epoch alone, and the validation
    systems.
    """
    def __init__(self, config: DynamicsConfig, train: InMemoryDataset,
                 val: InMemoryDataset):
        super().__init__()
        self.config, self.train, self.val = config, train, val

    def train_dataloader(self) -> Batches:
        r"""Returns the batches that are left of an epoch."""
        module = self.trainer.lightning_module
        epoch, first = divmod(module.step, module.val_interval)
        order = epoch_order(len(self.train), self.config.seed, epoch)
        return Batches(self.train, self.config.batch_size, order, first)

    def val_dataloader(self) -> Batches:
        return Batches(self.val, EVAL_BATCH_SIZE)


class _OfNewerRuns(TypedDict, total=False):
    random_state: Tensor


class DynamicsState(RunState, _OfNewerRuns):
    r"""What a checkpoint that a run goes on from must hold."""
    forecaster: Weights


class DynamicsModule(RunModule):
    r"""Trains a :class:`~torch_sake.forecasting.Forecaster` on the mean
    squared error of a coordinate, in units of its length, and validates it
    after each epoch.

    Args:
        config (DynamicsConfig): What the run is made of.
        forecaster (Forecaster): The forecaster.
        steps_per_epoch (int): Number of steps of an epoch.
        fingerprint (str, optional): That of the data, which checkpoints
            keep. (default: :obj:`""`)
    """
    name, state = 'forecaster', DynamicsState
    free = {'out', 'resume', 'root', 'device', 'num_rollout', 'num_epochs'}
    length = 'num_epochs'

    def __init__(self, config: DynamicsConfig, forecaster: Forecaster,
                 steps_per_epoch: int, fingerprint: str = ''):
        schedule = Schedule('cosine', config.learning_rate,
                            steps_per_epoch * config.num_epochs, WARMUP)
        super().__init__(forecaster, config, {
            'kind': 'dynamics', 'config': asdict(config),
            'arguments': forecaster.arguments, 'fingerprint': fingerprint
        }, schedule, steps_per_epoch)

    def build_optimizers(self) -> list[Optimizer]:
        return [AdamW(self.learner.parameters(), self.config.learning_rate,
                      weight_decay=self.config.weight_decay, fused=True)]

    def loss_of(self, data: Data) -> Tensor:
        if self.config.time_reversal and self.step % 2:
            data = reverse_time(data)
        pos, vel = self.learner(data)
        unit = self.learner.length
        loss = ((pos - data.y) / unit).square().mean()
        if self.config.velocity_weight > 0:
            error = (vel - data.y_vel) * self.learner.time / unit
            loss = loss + self.config.velocity_weight * error.square().mean()
        return loss

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self.errors: list[tuple[Tensor, int]] = []

    def validation_step(self, data: Data, batch_idx: int) -> None:
        error = self.average(data)[0] - data.y
        self.errors.append((error.square().sum(), error.numel()))

    def validation_errors(self) -> Metrics:
        squares, counts = zip(*self.errors)
        return {'val_mse': float(torch.stack(squares).sum()) / sum(counts)}

    def steps_of(self, config: Mapping[str, Any]) -> int:
        return self.val_interval * config['num_epochs']

    @property
    def place(self) -> dict[str, int]:
        return {'epoch': -(-self.step // self.val_interval), **super().place}

    @property
    def scores(self) -> list[float]:
        return [row['val_mse'] for row in self.history]

    @property
    def shown(self) -> Metrics:
        return {'val_mse': self.scores[-1]}

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        super().check_checkpoint(checkpoint)
        num_epochs, step = len(checkpoint['history']), checkpoint['step']
        if step // self.val_interval != num_epochs:
            raise ValueError(f"'step' must be that of the end of epoch "
                             f"{num_epochs}, the last one of the history, or "
                             f"of the next epoch before its end (got {step})")
