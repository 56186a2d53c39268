import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch_geometric.data import Data

from torch_sake.optim.average import MovingAverage
from torch_sake.optim.schedule import Schedule
from torch_sake.potentials.description import check_kind
from torch_sake.runs.checkpoint_io import SafetensorsIO
from torch_sake.runs.distributed import num_processes, sum_over_processes
from torch_sake.runs.diverged import check_finite
from torch_sake.runs.length import go_on, keep_time, length_to_save
from torch_sake.runs.resume import RunState, check_run, leave_to_module
from torch_sake.runs.timer import Timer
from torch_sake.utils.checks import check_same_data, check_same_settings
from torch_sake.utils.hints import check_entry
from torch_sake.utils.messages import errors_name
from torch_sake.utils.weights import check_tensors

Metrics = dict[str, float]


class RunModule(LightningModule):
    r"""A model in training, with the moving average of its weights, which is
    what is validated and kept.

    Where a run stands is the number of its steps, :obj:`step`, from one
    validation to the next of which an epoch of Lightning extends. The
    moving average and the batches follow from it, and, with the plan of the
    schedule, the rate.

    Subclasses say what the loss is (:meth:`loss_of`), which optimizers lower
    it (:meth:`build_optimizers`), and what a validation finds
    (:meth:`validation_step`, :meth:`validation_errors`, :attr:`scores`).

    Args:
        learner (torch.nn.Module): What is trained.
        config (TrainConfig or DynamicsConfig): The run.
        description (dict): What checkpoints say about it.
        schedule (Schedule): The learning rate.
        val_interval (int): Number of steps from one validation to the next.
        max_grad_norm (float, optional): Largest norm of the gradient.
            (default: :obj:`1.0`)
        max_time (float, optional): The length of the run, in seconds, in the
            place of a number of steps. (default: :obj:`None`)
    """
    # What the average is called in checkpoints, what these must hold,
    # settings that may change when a run goes on, and that of its length:
    name: str
    state: type = RunState
    free: set[str]
    length: str

    def __init__(self, learner: torch.nn.Module, config: Any,
                 description: dict[str, Any], schedule: Schedule,
                 val_interval: int, max_grad_norm: float = 1.0,
                 max_time: float | None = None):
        super().__init__()
        self.automatic_optimization = False  # Muon and Adam share a step
        self.learner = learner
        self.average = MovingAverage(learner, config.ema_decay)
        self.config = config
        self.description = description
        self.schedule = schedule
        self.val_interval = val_interval
        self.max_grad_norm = max_grad_norm
        self.max_time = max_time
        self.timer = Timer()
        # For the word before the first step: whether it is compiled, and how
        # many steps take as long as a validation.
        self.compiles, self.steps_of_validation = False, 0.0
        self.built_optimizers: list[Optimizer] = []
        self.step = 0
        self.seconds = 0.0  # processor time of training so far
        self.history: list[Metrics] = []
        self.losses: list[Tensor] = []  # since the last validation

    def loss_of(self, data: Data) -> Tensor:
        r"""Returns the loss of a batch."""
        raise NotImplementedError

    def build_optimizers(self) -> list[Optimizer]:
        r"""Returns the optimizers that share the weights."""
        raise NotImplementedError

    def validation_errors(self) -> Metrics:
        r"""Returns the errors that the validation steps have found."""
        raise NotImplementedError

    def steps_of(self, config: Mapping[str, Any]) -> int | None:
        r"""Returns the number of steps that settings ask for, if they do."""
        raise NotImplementedError

    @property
    def scores(self) -> list[float]:
        r"""The scores of all validations, of which the smallest is the best.
        """
        raise NotImplementedError

    @property
    def shown(self) -> Metrics:
        r"""What the progress bar says of the last validation."""
        raise NotImplementedError

    @property
    def place(self) -> dict[str, int]:
        r"""What a row of the history begins with."""
        return {'step': self.step}

    @property
    def best(self) -> float:
        r"""The best score of a validation."""
        return min((score for score in self.scores if not math.isnan(score)),
                   default=math.inf)

    @property
    def num_steps(self) -> int:
        r"""Number of steps, as far as it is planned."""
        return self.schedule.num_steps

    @property
    def finished(self) -> bool:
        r"""Whether the run has come to its end."""
        return self.schedule.plan is not None and self.step >= self.num_steps

    @property
    def validates(self) -> bool:
        r"""Whether a validation follows the last step."""
        return self.step % self.val_interval == 0 or (
            self.step == self.num_steps)

    @property
    def learning_rate(self) -> float:
        r"""The learning rate of the next step."""
        scores = self.scores if self.schedule.name == 'plateau' else []
        return self.schedule(self.step, scores)

    def configure_optimizers(self) -> list[Optimizer]:
        # Once, as a second call of fit goes on with their states.
        if not self.built_optimizers:
            self.built_optimizers = self.build_optimizers()
        return self.built_optimizers

    def training_step(self, data: Data, batch_idx: int) -> Tensor:
        loss = self.take_step(data, self.trainer.optimizers,
                              self.manual_backward)
        self.losses.append(loss)
        if self.max_time is not None:
            self.timer.end_step()
            keep_time(self)
        return loss

    def take_step(self, data: Data, optimizers: list[Optimizer],
                  backward: Callable[[Tensor], None] = Tensor.backward
                  ) -> Tensor:
        r"""Changes the weights, and their average, after a batch, and returns
        the loss. With optimizers of :meth:`configure_optimizers`, a loop of
        your own can do without Lightning.
        """
        loss = self.loss_of(data)
        self.learner.zero_grad()
        backward(loss)
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(),
                                       self.max_grad_norm)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group['lr'] = self.learning_rate
            optimizer.step()
        self.average.update_parameters(self.learner)
        self.step += 1
        return loss.detach()

    def on_train_epoch_start(self) -> None:
        self.began = time.process_time()
        self.timer.begin_steps()

    def on_validation_epoch_start(self) -> None:
        self.stop_clock()
        self.timer.begin_validation()

    def on_validation_epoch_end(self) -> None:
        loss = float(self._losses().mean())
        self.losses = []
        errors = self.validation_errors()
        check_finite({'loss': loss, **errors}, self.step,
                     self.config.learning_rate)
        self.history.append({
            **self.place, 'seconds': self.seconds,
            'learning_rate': self.learning_rate, 'loss': loss, **errors})
        # For loggers and for callbacks of the user's:
        self.log_dict({'score': self.scores[-1], **{
            name: float(value) for name, value in self.history[-1].items()}},
            sync_dist=True)
        if self.finished:
            self.trainer.should_stop = True

    def stop_clock(self) -> None:
        r"""Adds the processor time since the last validation."""
        self.seconds += time.process_time() - self.began

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
            **self.description, 'step': self.step, 'seconds': self.seconds,
            'history': self.history,
            self.name: self.average.module.state_dict()
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The number of steps says it all:
        for name in ('state_dict', 'loops', 'epoch', 'global_step'):
            del checkpoint[name]
        checkpoint.update(self.kept(), **length_to_save(self),
                          raw=self.learner.state_dict(),
                          random_state=torch.get_rng_state(),
                          losses=self._losses())

    def restore(self, path: str, defaults: Mapping[str, Any] = {}) -> None:
        r"""Goes on from a checkpoint of this run.

        Args:
            path (str): The checkpoint.
            defaults (dict, optional): Settings that older runs did not know,
                and had. (default: :obj:`{}`)

        Raises:
            ValueError: If it is none. The error has the file and the entry.
        """
        checkpoint = SafetensorsIO().load_checkpoint(path)
        with errors_name(path):
            check_kind(checkpoint, self.description['kind'])
            if 'optimizer_states' not in checkpoint:
                raise ValueError(
                    f"'resume' needs a run of this version (got one of "
                    f"torch_sake {checkpoint['versions']['torch_sake']} on "
                    f"another loop)")
            check_entry('config', checkpoint.get('config'), dict[str, Any])
            check_same_settings(asdict(self.config), {
                **defaults, **checkpoint['config']}, self.free)
            check_same_data(self.description['fingerprint'],
                            checkpoint.get('fingerprint'), self.config.data)
            self.check_checkpoint(checkpoint)
            self.on_load_checkpoint(checkpoint)
            self.load_state_dict(checkpoint['state_dict'])

    def check_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        r"""Raises an error if a checkpoint lacks something to go on from."""
        check_run(self, checkpoint)
        if 'random_state' in checkpoint:  # not in older ones of forecasts
            check_tensors({'random_state': checkpoint['random_state']},
                          {'random_state': torch.get_rng_state()})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        leave_to_module(checkpoint, self.configure_optimizers())
        go_on(self, checkpoint)
        self.step = checkpoint['step']
        self.seconds = checkpoint['seconds']
        self.history = checkpoint['history']
        self.losses = list(checkpoint.get('losses', ()))
        if 'random_state' in checkpoint:
            torch.set_rng_state(checkpoint['random_state'])
        checkpoint['state_dict'] = {
            'average.n_averaged': torch.tensor(self.step),
            **{f'learner.{key}': value
               for key, value in checkpoint['raw'].items()},
            **{f'average.module.{key}': value
               for key, value in checkpoint[self.name].items()},
        }
