import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytorch_lightning
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets.frames.split import epoch_order
from torch_sake.forecasting.config import DynamicsConfig
from torch_sake.forecasting.data import Batches, reverse_time
from torch_sake.forecasting.evaluation import EVAL_BATCH_SIZE
from torch_sake.forecasting.forecaster import Forecaster
from torch_sake.optim.average import MovingAverage
from torch_sake.optim.schedule import Schedule
from torch_sake.runs.diverged import check_finite
from torch_sake.runs.resume import (
    RunState,
    Weights,
    check_run,
    leave_to_module,
)

WARMUP = 0.01  # of the steps
MAX_GRAD_NORM = 1.0


class DynamicsData(pytorch_lightning.LightningDataModule):
    r"""The training systems, in an order of its own in each epoch that follows
    from the seed and the number of the epoch alone, and the validation
    systems.
    """
    def __init__(self, config: DynamicsConfig, train: InMemoryDataset,
                 val: InMemoryDataset):
        super().__init__()
        self.config, self.train, self.val = config, train, val

    def train_dataloader(self) -> Batches:
        return Batches(self.train, self.config.batch_size, epoch_order(
            len(self.train), self.config.seed,
            self.trainer.lightning_module.epoch))

    def val_dataloader(self) -> Batches:
        return Batches(self.val, EVAL_BATCH_SIZE)


class DynamicsState(RunState):
    r"""What a checkpoint that a run goes on from must hold."""
    forecaster: Weights


class DynamicsModule(pytorch_lightning.LightningModule):
    r"""Trains a :class:`~torch_sake.forecasting.Forecaster` on the mean
    squared error of a coordinate, in units of its length, and keeps a moving
    average of its weights, which is what is validated.

    Args:
        config (DynamicsConfig): What the run is made of.
        forecaster (Forecaster): The forecaster.
        steps_per_epoch (int): Number of steps of an epoch.
        fingerprint (str, optional): That of the data, which checkpoints
            keep. (default: :obj:`""`)
    """
    def __init__(self, config: DynamicsConfig, forecaster: Forecaster,
                 steps_per_epoch: int, fingerprint: str = ''):
        super().__init__()
        self.fingerprint = fingerprint
        self.config, self.forecaster = config, forecaster
        self.average = MovingAverage(forecaster, config.ema_decay)
        self.steps_per_epoch = steps_per_epoch
        self.schedule = Schedule('cosine', config.learning_rate,
                                 steps_per_epoch * config.num_epochs, WARMUP)
        self.step = 0
        self.seconds = 0.0  # processor time of training and validation
        self.history: list[dict[str, float]] = []

    @property
    def epoch(self) -> int:
        r"""Number of epochs that are done."""
        return self.step // self.steps_per_epoch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.forecaster.parameters(), self.config.learning_rate,
            weight_decay=self.config.weight_decay, fused=True)

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        r"""Checks that this module can go on from a checkpoint.

        Raises:
            TypeError, ValueError: If it cannot. The error has the entry.
        """
        check_run(checkpoint, DynamicsState,
                  self.steps_per_epoch * self.config.num_epochs,
                  {'raw': self.forecaster, 'forecaster': self.average.module},
                  [self.configure_optimizers()])
        num_epochs = len(checkpoint['history'])
        if checkpoint['step'] != num_epochs * self.steps_per_epoch:
            raise ValueError(f"'step' must be that of the end of epoch "
                             f"{num_epochs}, the last one of the history "
                             f"(got {checkpoint['step']})")

    def on_train_epoch_start(self) -> None:
        self.losses, self.began = [], time.process_time()

    def on_train_batch_start(self, batch: Data, batch_idx: int) -> None:
        for group in self.optimizers().param_groups:
            group['lr'] = self.learning_rate()

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        if self.config.time_reversal and self.step % 2:
            batch = reverse_time(batch)
        pos, vel = self.forecaster(batch)
        unit = self.forecaster.length
        loss = ((pos - batch.y) / unit).square().mean()
        if self.config.velocity_weight > 0:
            error = (vel - batch.y_vel) * self.forecaster.time / unit
            loss = loss + self.config.velocity_weight * error.square().mean()
        self.losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, *args: Any) -> None:
        self.step += 1
        self.average.update_parameters(self.forecaster)

    def close_epoch(self) -> None:
        r"""Adds the epoch to the history."""
        self.seconds += time.process_time() - self.began
        loss = float(torch.stack(self.losses).mean())
        check_finite({'loss': loss, 'val_mse': self.mse}, self.step,
                     self.config.learning_rate)
        self.history.append({
            'epoch': self.epoch, 'step': self.step, 'seconds': self.seconds,
            'learning_rate': self.learning_rate(),
            'loss': loss, 'val_mse': self.mse
        })

    def on_validation_epoch_start(self) -> None:
        self.errors = []

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        error = self.average(batch)[0] - batch.y
        self.errors.append((error.square().sum(), error.numel()))

    def on_validation_epoch_end(self) -> None:
        squares, counts = zip(*self.errors)
        self.mse = float(torch.stack(squares).sum()) / sum(counts)

    def learning_rate(self) -> float:
        r"""Returns the learning rate of the next step."""
        return self.schedule(self.step, ())

    @property
    def best(self) -> float:
        r"""The smallest error of a validation."""
        return min((row['val_mse'] for row in self.history), default=math.inf)

    def kept(self) -> dict[str, Any]:
        r"""Returns what every checkpoint holds."""
        return {
            'kind': 'dynamics',
            'config': asdict(self.config),
            'arguments': self.forecaster.arguments,
            'fingerprint': self.fingerprint,
            'step': self.step,
            'seconds': self.seconds,
            'history': self.history,
            'forecaster': self.average.module.state_dict(),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The number of steps says it all:
        for name in ('state_dict', 'loops', 'epoch', 'global_step'):
            del checkpoint[name]
        checkpoint.update(self.kept(), raw=self.forecaster.state_dict())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        leave_to_module(checkpoint, [self.configure_optimizers()])
        self.step = checkpoint['step']
        self.seconds = checkpoint['seconds']
        self.history = checkpoint['history']
        checkpoint['state_dict'] = {
            'average.n_averaged': torch.tensor(self.step),
            **{f'forecaster.{key}': value
               for key, value in checkpoint['raw'].items()},
            **{f'average.module.{key}': value
               for key, value in checkpoint['forecaster'].items()},
        }
