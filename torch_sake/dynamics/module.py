import copy
import math
import time
from typing import Any, Dict, List

import pytorch_lightning
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets.split import epoch_order
from torch_sake.dynamics.config import DynamicsConfig
from torch_sake.dynamics.data import Batches, reverse_time
from torch_sake.dynamics.evaluation import EVAL_BATCH_SIZE
from torch_sake.dynamics.forecaster import Forecaster

WARMUP = 0.01  # of the steps
MAX_GRAD_NORM = 1.0


class DynamicsData(pytorch_lightning.LightningDataModule):
    r"""The training systems, in an order of its own in each epoch that follows
    from the seed and the number of the epoch alone, and the validation
    systems.
    """
    def __init__(self, config: DynamicsConfig, train: InMemoryDataset,
                 val: InMemoryDataset, first_epoch: int = 0):
        super().__init__()
        self.config, self.train, self.val = config, train, val
        self.first_epoch = first_epoch

    def train_dataloader(self) -> Batches:
        epoch = self.first_epoch + self.trainer.current_epoch
        return Batches(self.train, self.config.batch_size, epoch_order(
            len(self.train), self.config.seed, epoch))

    def val_dataloader(self) -> Batches:
        return Batches(self.val, EVAL_BATCH_SIZE)


class DynamicsModule(pytorch_lightning.LightningModule):
    r"""Trains a :class:`~torch_sake.dynamics.Forecaster` on the mean squared
    error of a coordinate, in units of its length, and keeps a moving average
    of its weights, which is what is validated.

    Args:
        config (DynamicsConfig): What the run is made of.
        forecaster (Forecaster): The forecaster.
        steps_per_epoch (int): Number of steps of an epoch.
    """
    def __init__(self, config: DynamicsConfig, forecaster: Forecaster,
                 steps_per_epoch: int):
        super().__init__()
        self.config, self.forecaster = config, forecaster
        self.average = copy.deepcopy(forecaster).requires_grad_(False)
        self.steps_per_epoch = steps_per_epoch
        self.num_steps = steps_per_epoch * config.num_epochs
        self.step = 0
        self.seconds = 0.0  # processor time of training and validation
        self.history: List[Dict[str, float]] = []
        self.optimizer = torch.optim.AdamW(
            forecaster.parameters(), config.learning_rate,
            weight_decay=config.weight_decay, fused=True)

    @property
    def epoch(self) -> int:
        r"""Number of epochs that are done, with those before a resumption."""
        return self.step // self.steps_per_epoch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer

    def on_train_epoch_start(self) -> None:
        self.losses, self.began = [], time.process_time()

    def on_train_batch_start(self, batch: Data, batch_idx: int) -> None:
        for group in self.optimizer.param_groups:
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

    @torch.no_grad()
    def on_train_batch_end(self, *args: Any) -> None:
        self.step += 1
        # The first steps should not weigh in for long:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()),
                             list(self.forecaster.parameters()), 1 - decay)

    def close_epoch(self) -> None:
        r"""Adds the epoch to the history."""
        self.seconds += time.process_time() - self.began
        self.history.append({
            'epoch': self.epoch, 'step': self.step, 'seconds': self.seconds,
            'learning_rate': self.learning_rate(),
            'loss': float(torch.stack(self.losses).mean()), 'val_mse': self.mse
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
        progress = self.step / self.num_steps
        if progress < WARMUP:
            return self.config.learning_rate * (self.step + 1) / (
                WARMUP * self.num_steps + 1)
        rest = (progress - WARMUP) / (1 - WARMUP)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))

    def tensors(self) -> Dict[str, Tensor]:
        r"""Returns the averaged weights by the names of a checkpoint."""
        return {f'forecaster.{key}': value
                for key, value in self.average.state_dict().items()}

    def state(self) -> Dict[str, Tensor]:
        r"""Returns what the run needs to go on, beside its averaged
        weights.
        """
        tensors = {f'raw.{key}': value
                   for key, value in self.forecaster.state_dict().items()}
        for index, state in self.optimizer.state_dict()['state'].items():
            for key, value in state.items():
                tensors[f'optimizer.{index}.{key}'] = value
        return tensors

    def load(self, tensors: Dict[str, Tensor],
             description: Dict[str, Any]) -> None:
        r"""Takes over the state of a run that goes on."""
        parts: Dict[str, Dict[str, Tensor]] = {}
        for key, value in tensors.items():
            part, _, name = key.partition('.')
            parts.setdefault(part, {})[name] = value
        self.forecaster.load_state_dict(parts['raw'])
        self.average.load_state_dict(parts['forecaster'])
        state: Dict[int, Dict[str, Tensor]] = {}
        for key, value in parts.get('optimizer', {}).items():
            index, _, name = key.partition('.')
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict(dict(self.optimizer.state_dict(),
                                            state=state))
        self.step = description['step']
        self.seconds = description['seconds']
        self.history = description['history']
