import csv
import math
import os
import os.path as osp
import time
from dataclasses import asdict
from typing import Any, Dict, List, Optional

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from torch_sake.checkpoint import (BEST, LAST, MODELS, build_prior,
                                   load_checkpoint, save_checkpoint)
from torch_sake.files import replace_when_complete
from torch_sake.models import MoleculeModel
from torch_sake.potential import Potential
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData, shuffled_batches
from torch_sake.training.interrupt import DeferredInterrupt
from torch_sake.training.losses import WeightedLoss
from torch_sake.training.metrics import (Metrics, error_metrics, predict,
                                         predict_batch)
from torch_sake.training.optimizers import build_optimizers

EVAL_BATCH_SIZE = 64


class Trainer:
    r"""Trains a :class:`~torch_sake.Potential` on energies, forces and, where
    they are known, stresses, with the loss

    .. math::
        \mathcal{L} = \ell \left( \frac{\vec{F} - \hat{\vec{F}}}{u} \right)
        + \lambda \, \ell \left( \frac{E - \hat{E}}{u} \right)
        + \mu \, \ell \left( \frac{\bar{V}}{u} (\boldsymbol{\sigma} -
        \hat{\boldsymbol{\sigma}}) \right)

    with a penalty :math:`\ell` of :class:`WeightedLoss`, the root mean square
    :math:`u` of the forces and the mean volume :math:`\bar{V}` of an atom, or,
    where the data have no forces, on energies alone, with the loss

    .. math::
        \mathcal{L} = \ell \left( \frac{E - \hat{E}}{u} \right)

    and the root mean square :math:`u` of what is learned of the energies.

    The folder :obj:`config.out` gets the checkpoint of the best validation,
    :obj:`best.safetensors`, the checkpoint to go on from,
    :obj:`last.safetensors`, and the validations, :obj:`metrics.csv`.

    Args:
        config (TrainConfig): What the run is made of.
        model (torch.nn.Module, optional): A :obj:`model(z, pos, batch)` of
            your own in the place of that of the configuration. Its
            checkpoints hold the parameters, but
            :func:`~torch_sake.load_potential` cannot know how to build it.
            (default: :obj:`None`)

    Raises:
        ValueError: If the folder holds a run already and :obj:`config.resume`
            is not set, or is set and the run there has other settings.
    """
    def __init__(self, config: TrainConfig,
                 model: Optional[torch.nn.Module] = None):
        self.config = config
        self._check_out()
        self.device = torch.device(
            ('cuda' if torch.cuda.is_available() else 'cpu'
             ) if config.device == 'auto' else config.device)
        self.dtype = getattr(torch, config.precision)
        self.data = TrainingData.from_config(config)
        # What is learned, and the weight and the unit of its error:
        weights = {'energy': 1.0}
        units = dict.fromkeys(('energy', 'force'), self.data.scale)
        if self.data.frames.has_forces:
            weights = {'force': 1.0, 'energy': config.energy_weight}
        if self.data.volume_per_atom > 0:  # of frames with a stress
            weights['stress'] = config.stress_weight
            units['stress'] = self.data.scale / self.data.volume_per_atom
        self.loss = WeightedLoss(config.loss, weights, units,
                                 config.energy_per_atom)

        torch.manual_seed(config.seed)
        self.model_description = None
        if model is None:
            arguments = config.model_arguments
            if config.model == 'VectorSAKE':
                arguments['avg_num_neighbors'] = self.data.avg_num_neighbors(
                    config.cutoff)
            model = MODELS[config.model](**arguments)
            self.model_description = {'name': config.model,
                                      'arguments': arguments}
        self.prior_description = None
        if config.zbl:
            self.prior_description = {'cutoff': config.cutoff or 5.0,
                                      **self.data.frames.units}
        self.potential = Potential(model, self.data.scale,
                                   self.data.atomic_energies,
                                   build_prior(self.prior_description))
        self.potential.to(self.device, self.dtype)
        self.optimizers = build_optimizers(self.potential, config.optimizer,
                                           config.learning_rate)
        self.average = AveragedModel(self.potential,
                                     multi_avg_fn=self._update_average)
        if config.compiles and isinstance(model, MoleculeModel):
            self.potential.compile()  # not the average: it is rarely called
        self.step = 0
        self.best = math.inf
        self.seconds = 0.0  # processor time of training so far
        self.history: List[Metrics] = []
        if config.resume:
            self._load()

    def fit(self) -> None:
        r"""Trains up to the last step.

        Raises:
            KeyboardInterrupt: After an interruption, at the end of the step it
                came in, with everything saved that the run needs to go on.
        """
        config = self.config
        train = [self.data.frames[i] for i in self.data.split.train.tolist()]
        batches = shuffled_batches(train, config.batch_size, config.seed,
                                   self.step, config.num_steps)
        progress = tqdm(batches, total=config.num_steps, initial=self.step,
                        unit='step', desc='training', dynamic_ncols=True)
        began, losses = time.process_time(), []
        with DeferredInterrupt() as interrupt, progress:
            for data in progress:
                losses.append(self._train_step(data))
                self.step += 1
                if (self.step % config.val_interval == 0
                        or self.step == config.num_steps):
                    self.seconds += time.process_time() - began
                    loss = float(torch.stack(losses).mean())
                    metrics = self._validate(loss)
                    progress.set_postfix({
                        f'{name} MAE': f"{metrics[f'{name}_mae']:.4g}"
                        for name in self.loss.weights if f'{name}_mae' in metrics
                    })
                    began, losses = time.process_time(), []
                elif interrupt.requested:
                    self.seconds += time.process_time() - began
                    self._save(LAST)
                    if not osp.exists(osp.join(config.out, BEST)):
                        self._save(BEST)
                interrupt.raise_if_requested()

    def _train_step(self, data) -> Tensor:
        data = data.to(self.device)
        outputs = predict_batch(self.potential, data, self.dtype)
        # In units of what is learned, so that the clipping has the same
        # meaning for all data:
        loss = self.loss(outputs, data, data.ptr.diff())
        self.potential.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.potential.parameters(),
                                       self.config.max_grad_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = self._learning_rate()
            optimizer.step()
        self.average.update_parameters(self.potential)
        return loss.detach()

    def _learning_rate(self) -> float:
        config = self.config
        progress = self.step / config.num_steps
        if progress < config.warmup:
            warmup_steps = config.warmup * config.num_steps
            return config.learning_rate * (self.step + 1) / (warmup_steps + 1)
        rest = (progress - config.warmup) / (1 - config.warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))

    def _update_average(self, averages: List[Tensor], values: List[Tensor],
                        num_averaged: Tensor) -> None:
        # The first steps should not weigh in for long:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(decay)(averages, values, num_averaged)

    def _validate(self, loss: float) -> Metrics:
        outputs = predict(self.average.module,
                          self.data.batches('val', EVAL_BATCH_SIZE),
                          self.dtype, self.device)
        metrics = error_metrics(outputs)
        score = self.loss.score(metrics)
        self.history.append({
            'step': self.step, 'seconds': self.seconds,
            'learning_rate': self._learning_rate(), 'loss': loss,
            **metrics
        })
        self._write_history()
        if score < self.best:
            self.best = score
            self._save(BEST)
        self._save(LAST)
        return metrics

    def _write_history(self) -> None:
        path = osp.join(self.config.out, 'metrics.csv')
        with replace_when_complete(path) as temporary:
            with open(temporary, 'w', newline='') as file:
                writer = csv.DictWriter(file, list(self.history[0]))
                writer.writeheader()
                writer.writerows(self.history)

    def _save(self, name: str) -> None:
        tensors = {
            f'potential.{key}': value
            for key, value in self.average.module.state_dict().items()
        }
        tensors.update({
            f'split.{key}': value
            for key, value in vars(self.data.split).items()
        })
        if name == LAST:
            tensors.update(self._state())
        save_checkpoint(osp.join(self.config.out, name), tensors, {
            'kind': 'potential',
            'config': asdict(self.config),
            'model': self.model_description,
            'prior': self.prior_description,
            'energy_scale': self.data.scale,
            'units': self.data.frames.units,
            'elements': self.data.elements,
            'step': self.step,
            'best': self.best if math.isfinite(self.best) else None,
            'seconds': self.seconds,
            'history': self.history,
        })

    def _state(self) -> Dict[str, Tensor]:
        r"""What a run needs to go on, beside its averaged weights."""
        tensors = {
            f'raw.{key}': value
            for key, value in self.potential.state_dict().items()
        }
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()['state'].items():
                for key, value in state.items():
                    tensors[f'optimizer{number}.{index}.{key}'] = value
        return tensors

    def _load(self) -> None:
        tensors, description = load_checkpoint(
            osp.join(self.config.out, LAST))
        self._check_same(description['config'])
        parts: Dict[str, Dict[str, Any]] = {}
        for key, value in tensors.items():
            part, _, name = key.partition('.')
            parts.setdefault(part, {})[name] = value
        for name, value in vars(self.data.split).items():
            if not torch.equal(value, parts['split'][name]):
                raise ValueError(f"'resume' needs the data of the run (the "
                                 f"frames of '{name}' differ)")
        self.potential.load_state_dict(parts['raw'])
        self.average.module.load_state_dict(parts['potential'])
        self.average.n_averaged.fill_(description['step'])
        for number, optimizer in enumerate(self.optimizers):
            state: Dict[int, Dict[str, Tensor]] = {}
            for key, value in parts.get(f'optimizer{number}', {}).items():
                index, _, name = key.partition('.')
                state.setdefault(int(index), {})[name] = value
            groups = optimizer.state_dict()['param_groups']
            optimizer.load_state_dict({'state': state,
                                       'param_groups': groups})
        self.step = description['step']
        self.seconds = description['seconds']
        self.history = description['history']
        if description['best'] is not None:
            self.best = description['best']

    def _check_out(self) -> None:
        last = osp.join(self.config.out, LAST)
        if osp.exists(last) and not self.config.resume:
            raise ValueError(f"'out' must not hold a run already, unless it "
                             f"goes on with 'resume' (got {self.config.out})")
        if self.config.resume and not osp.exists(last):
            raise ValueError(f"'resume' needs a run in 'out', which has no "
                             f"'{LAST}' (got {self.config.out})")
        os.makedirs(self.config.out, exist_ok=True)

    def _check_same(self, config: Dict[str, Any]) -> None:
        free = {'out', 'resume', 'root', 'device', 'val_interval', 'split'}
        config = {**asdict(TrainConfig()), **config}  # of an older version
        for key, value in asdict(self.config).items():
            if key not in free and value != config[key]:
                raise ValueError(f"'resume' needs the settings of the run: "
                                 f"'{key}' must be {config[key]!r} "
                                 f"(got {value!r})")

