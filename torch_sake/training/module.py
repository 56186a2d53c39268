from collections.abc import Mapping
from typing import Any, TypedDict

import torch
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
from torch_sake.optim.optimizers import build_optimizers
from torch_sake.optim.schedule import Schedule, waits
from torch_sake.runs.distributed import sum_over_processes
from torch_sake.runs.module import RunModule
from torch_sake.runs.resume import RunState, Weights
from torch_sake.training.config import TrainConfig
from torch_sake.training.losses import WeightedLoss
from torch_sake.utils.plain_checks import require


class Parts(TypedDict):
    train: Tensor
    val: Tensor
    test: Tensor


class TrainingState(RunState):
    r"""What a checkpoint that a run goes on from must hold."""
    potential: Weights
    split: Parts
    random_state: Tensor


class PotentialModule(RunModule):
    r"""A potential, or a property, in training.

    Args:
        potential (Potential or Property): What is trained.
        loss (WeightedLoss): The loss, and the score of a validation.
        config (TrainConfig): The run.
        description (dict): What checkpoints say about the potential.
    """
    name, state = 'potential', TrainingState
    free = {'out', 'resume', 'root', 'split', 'val_interval', 'patience',
            'device', 'devices', 'num_nodes', 'num_workers', 'tensorboard',
            'num_steps', 'max_time', 'pretrain_steps'}
    length = 'num_steps'

    def __init__(self, potential: Predictor, loss: WeightedLoss,
                 config: TrainConfig, description: dict[str, Any]):
        schedule = Schedule(config.schedule, config.learning_rate,
                            config.num_steps, config.warmup)
        super().__init__(potential, config, description, schedule,
                         config.val_interval, config.max_grad_norm,
                         config.seconds)
        self.loss = loss
        self.properties = list(units_of_properties(description['units']))

    @property
    def potential(self) -> Predictor:
        r"""The potential with the weights of the last step."""
        return self.learner

    def build_optimizers(self) -> list[Optimizer]:
        return build_optimizers(self.potential, self.config.optimizer,
                                self.config.learning_rate)

    def loss_of(self, data: Data) -> Tensor:
        # In units of what is learned, so that the clipping has the same
        # meaning for all data.
        return self.loss(predict_batch(self.potential, data), data,
                         data.ptr.diff())

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self.error_sums = torch.zeros(len(self.properties), 3,
                                      dtype=torch.double, device=self.device)

    def validation_step(self, data: Data, batch_idx: int) -> None:
        self.error_sums += sum_errors(predict_labels(
            self.average.module, data), self.properties)

    def validation_errors(self) -> Metrics:
        return metrics_of_sums(sum_over_processes(self.error_sums),
                               self.properties)

    def steps_of(self, config: Mapping[str, Any]) -> int | None:
        return config.get('num_steps')

    @property
    def scores(self) -> list[float]:
        return [self.loss.score(metrics) for metrics in self.history]

    @property
    def shown(self) -> Metrics:
        metrics = self.history[-1]
        return {f'{name} MAE': metrics[f'{name}_mae']
                for name in self.loss.weights if f'{name}_mae' in metrics}

    @property
    def finished(self) -> bool:
        r"""Whether the run has come to its end, or ends early."""
        patience = self.config.patience
        return super().finished or (
            patience is not None and patience in waits(self.scores))

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        super().check_checkpoint(checkpoint)
        # It is none where the length of the run is a time, at first or now.
        given = self.config.pretrain_steps
        found = checkpoint['config'].get('pretrain_steps')
        require(None in (given, found) or given == found,
                f"'pretrain_steps' must be {found}, as the pretraining is "
                f"done (got {given})")
        for name, value in self.description['split'].items():
            if not torch.equal(value, checkpoint['split'][name]):
                raise ValueError(f"'resume' needs the data of the run (the "
                                 f"frames of '{name}' differ)")
