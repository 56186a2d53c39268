import math
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypedDict

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch_geometric.data import Data

from torch_sake.evaluation.metrics import (
    Metrics,
    Predictor,
    metrics_of_sums,
    predict_batch,
    predict_labels,
    sum_errors,
    units_of_properties,
)
from torch_sake.optim.average import MovingAverage
from torch_sake.optim.optimizers import build_optimizers
from torch_sake.optim.schedule import Schedule, waits
from torch_sake.runs.distributed import num_processes, sum_over_processes
from torch_sake.runs.diverged import check_finite
from torch_sake.runs.resume import (
    RunState,
    Weights,
    check_run,
    leave_to_module,
)
from torch_sake.training.config import TrainConfig
from torch_sake.training.losses import WeightedLoss
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.weights import check_tensors


class Parts(TypedDict):
    train: Tensor
    val: Tensor
    test: Tensor


class _Losses(TypedDict, total=False):
    losses: Annotated[Tensor, lambda name, value: check_tensor(
        name, value, ('N', ))]


class TrainingState(RunState, _Losses):
    r"""What a checkpoint that a run goes on from must hold."""
    potential: Weights
    split: Parts
    random_state: Tensor


class PotentialModule(LightningModule):
    r"""A potential, or a property, in training, with the moving average of its
    weights.

    Where a run stands is the number of its steps, :obj:`step`, from one
    validation to the next of which an epoch of Lightning extends. The rate,
    the moving average and the batches follow from it.

    Args:
        potential (Potential or Property): What is trained.
        loss (WeightedLoss): The loss, and the score of a validation.
        config (TrainConfig): The run.
        description (dict): What checkpoints say about the potential.
    """
    def __init__(self, potential: Predictor, loss: WeightedLoss,
                 config: TrainConfig, description: dict[str, Any]):
        super().__init__()
        self.automatic_optimization = False  # Muon and Adam share a step
        self.potential = potential
        self.average = MovingAverage(potential, config.ema_decay)
        self.loss = loss
        self.config = config
        self.description = description
        self.properties = list(units_of_properties(description['units']))
        self.schedule = Schedule(config.schedule, config.learning_rate,
                                 config.num_steps, config.warmup)
        self.built_optimizers: list[Optimizer] = []
        self.step = 0
        self.seconds = 0.0  # processor time of training so far
        self.history: list[Metrics] = []
        self.losses: list[Tensor] = []  # since the last validation

    def configure_optimizers(self) -> list[Optimizer]:
        # Once, as a second call of fit goes on with their states.
        if not self.built_optimizers:
            self.built_optimizers = build_optimizers(
                self.potential, self.config.optimizer,
                self.config.learning_rate)
        return self.built_optimizers

    def training_step(self, data: Data, batch_idx: int) -> Tensor:
        loss = self.take_step(data, self.trainer.optimizers,
                              self.manual_backward)
        self.losses.append(loss)
        return loss

    def take_step(self, data: Data, optimizers: list[Optimizer],
                  backward: Callable[[Tensor], None] = Tensor.backward
                  ) -> Tensor:
        r"""Changes the weights, and their average, after a batch, and returns
        the loss. With optimizers of :meth:`configure_optimizers`, a loop of
        your own can do without Lightning.
        """
        outputs = predict_batch(self.potential, data)
        # In units of what is learned, so that the clipping has the same
        # meaning for all data:
        loss = self.loss(outputs, data, data.ptr.diff())
        self.potential.zero_grad()
        backward(loss)
        torch.nn.utils.clip_grad_norm_(self.potential.parameters(),
                                       self.config.max_grad_norm)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group['lr'] = self.learning_rate
            optimizer.step()
        self.average.update_parameters(self.potential)
        self.step += 1
        return loss.detach()

    def validation_step(self, data: Data, batch_idx: int) -> None:
        self.error_sums += sum_errors(predict_labels(
            self.average.module, data), self.properties)

    def on_train_epoch_start(self) -> None:
        self.began = time.process_time()

    def on_validation_epoch_start(self) -> None:
        self.stop_clock()
        self.error_sums = torch.zeros(len(self.properties), 3,
                                      dtype=torch.double, device=self.device)

    def on_validation_epoch_end(self) -> None:
        loss = float(self._losses().mean())
        self.losses = []
        errors = metrics_of_sums(sum_over_processes(self.error_sums),
                                 self.properties)
        check_finite({'loss': loss, **errors}, self.step,
                     self.config.learning_rate)
        metrics = {
            'step': self.step, 'seconds': self.seconds,
            'learning_rate': self.learning_rate,
            'loss': loss,
            **errors
        }
        self.history.append(metrics)
        # For loggers and for callbacks of the user's:
        self.log_dict({**metrics, 'step': float(self.step),
                       'score': self.scores[-1]}, sync_dist=True)
        if self.finished:
            self.trainer.should_stop = True

    def stop_clock(self) -> None:
        r"""Adds the processor time since the last validation."""
        self.seconds += time.process_time() - self.began

    @property
    def scores(self) -> list[float]:
        r"""The scores of all validations."""
        return [self.loss.score(metrics) for metrics in self.history]

    @property
    def best(self) -> float:
        r"""The best score of a validation."""
        return min((score for score in self.scores if not math.isnan(score)),
                   default=math.inf)

    @property
    def finished(self) -> bool:
        r"""Whether the run has come to its end, or ends early."""
        if self.step >= self.config.num_steps:
            return True
        patience = self.config.patience
        return patience is not None and patience in waits(self.scores)

    @property
    def learning_rate(self) -> float:
        r"""The learning rate of the next step."""
        scores = self.scores if self.config.schedule == 'plateau' else []
        return self.schedule(self.step, scores)

    def _losses(self) -> Tensor:
        r"""Returns the mean losses of all processes since the last validation.
        """
        if not self.losses:
            return torch.empty(0)
        # Those of a checkpoint come before the module is on its device.
        losses = torch.stack([loss.to(self.device) for loss in self.losses])
        return sum_over_processes(losses) / num_processes()

    def kept(self) -> dict[str, Any]:
        r"""Returns what every checkpoint holds."""
        return {
            **self.description,
            'step': self.step,
            'seconds': self.seconds,
            'history': self.history,
            'potential': self.average.module.state_dict(),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The number of steps says it all:
        for name in ('state_dict', 'loops', 'epoch', 'global_step'):
            del checkpoint[name]
        checkpoint.update(self.kept(), raw=self.potential.state_dict(),
                          random_state=torch.get_rng_state(),
                          losses=self._losses())

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        r"""Checks that this module can go on from a checkpoint.

        Raises:
            TypeError, ValueError: If it cannot. The error has the entry.
        """
        check_run(checkpoint, TrainingState, self.config.num_steps,
                  {'raw': self.potential, 'potential': self.average.module},
                  self.configure_optimizers())
        name = 'random_state'
        check_tensors({name: checkpoint[name]},
                      {name: torch.get_rng_state()})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        leave_to_module(checkpoint, self.configure_optimizers())
        self.step = checkpoint['step']
        self.seconds = checkpoint['seconds']
        self.history = checkpoint['history']
        self.losses = list(checkpoint.get('losses', ()))
        torch.set_rng_state(checkpoint['random_state'])
        checkpoint['state_dict'] = {
            'average.n_averaged': torch.tensor(self.step),
            **{f'potential.{key}': value
               for key, value in checkpoint['raw'].items()},
            **{f'average.module.{key}': value
               for key, value in checkpoint['potential'].items()},
        }
