import os.path as osp
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.evaluation.metrics import Metrics, Predictor
from torch_sake.models import MoleculeModel
from torch_sake.models.registry import find_model, name_of
from torch_sake.potentials.load import assemble
from torch_sake.runs.distributed import is_first_process
from torch_sake.runs.length import keep_length
from torch_sake.training.bonds import fit_bonds
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData, check_frames
from torch_sake.training.finetuning import Pretrained
from torch_sake.training.losses import WeightedLoss, build_loss
from torch_sake.training.model import build_model
from torch_sake.training.pretraining import begin_pretraining, pretrain
from torch_sake.training.repulsion import describe_repulsion, settle_repulsion
from torch_sake.training.splits import settle_sizes
from torch_sake.training.uncertainty import add_uncertainty
from torch_sake.utils.device import choose_device
from torch_sake.utils.global_state import own_global_state
from torch_sake.utils.inputs import LAST
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.plain_checks import require


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
    Data that are labeled with another property make it a
    :class:`~torch_sake.Property`, with the same loss.

    A run with :obj:`config.init` starts from the potential of another one, see
    :class:`~torch_sake.training.finetuning.Pretrained`. One with
    :obj:`config.pretrain` has it pretrained first, in the constructor.

    It runs on PyTorch Lightning, on one device or on several, which share the
    frames of each step. The folder :obj:`config.out` gets the checkpoint of
    the best validation, :obj:`best.safetensors`, which gets uncertainties at
    the end (:func:`torch_sake.fit_uncertainty`), the checkpoint to go on from,
    :obj:`last.safetensors`, the validations, :obj:`metrics.csv`, and the
    settings, :obj:`config.yaml`.

    Args:
        config (TrainConfig): What the run is made of.
        model (type, str or torch.nn.Module, optional): A
            :obj:`model(z, pos, batch)` of your own in the place of that of the
            configuration: its class or import path, from which it is built
            with the settings that its signature has, as
            :func:`~torch_sake.load_potential` does again, or the model itself,
            of which checkpoints hold the parameters only.
            (default: :obj:`None`)
        frames (Frames or FramesOnDisk, optional): Labeled structures in the
            place of :obj:`config.data`, which becomes their source.
            (default: :obj:`None`)
        loss (callable, optional): A penalty of your own in the place of
            :obj:`config.loss`: a function of the errors :math:`(M, C)` of a
            property in its unit, which returns a number for each row, or a
            subclass of :class:`~torch_sake.training.losses.WeightedLoss`.
            (default: :obj:`None`)

    Raises:
        ImportError: If :obj:`pytorch-lightning` is not installed.
        TypeError: If an argument is none of these.
        ValueError: If the folder holds a run already and :obj:`config.resume`
            is not set, or is set and the run there has other settings, or if
            another process writes to it.
    """
    adds_uncertainty = True  # at the end

    @own_global_state()
    def __init__(self, config: TrainConfig,
                 model: torch.nn.Module | type | str | None = None,
                 frames: AnyFrames | None = None,
                 loss: Callable[[Tensor], Tensor] | type[WeightedLoss]
                 | None = None):
        # Here and in fit, as it takes seconds, and simulations do without.
        from torch_sake.runs.callbacks import check_out
        from torch_sake.training.module import PotentialModule
        self.config = config = begin_pretraining(config)
        with self._held_folder():
            check_out(config.out, config.resume)
        config = keep_length(config, ('num_steps', 'max_time'))
        self.device = choose_device(config.device)
        available = torch.cuda.device_count()
        require(self.device.type != 'cuda' or config.devices <= available,
                f"'devices' must be at most {available}, the number of GPUs "
                f"here (got {config.devices})")
        if frames is not None:
            config = config.of_frames(check_frames(frames).source)
        pretrained = None
        for name in ('init', 'pretrain'):
            value = getattr(config, name)
            require(value is None or model is None,
                    f"'{name}' must not be given for a model of your own "
                    f"(got {value!r})")
        if config.init is not None or (config.pretrain and config.resume):
            pretrained = Pretrained(config)
            config = pretrained.settle(config)
        elif not isinstance(model, torch.nn.Module):
            model = find_model(config.model if model is None else model)
            config = replace(config, model=name_of(model))
        self.data = TrainingData.from_config(
            config, frames, None if pretrained is None else pretrained.units)
        config = settle_repulsion(config, self.data.frames, model)
        config = self.config = settle_sizes(config, self.data.drawn)
        self.data.check_settings(config)
        if config.pretrain and pretrained is None:
            self.before_pretraining()
            with self._held_folder():
                folder, about = pretrain(
                    config, self.data, lambda config, frames: Trainer(
                        config, frames=frames, loss=loss))
            pretrained = Pretrained(config, folder)
            pretrained.description['pretraining'] = about
            config = self.config = pretrained.settle(config)
        torch.manual_seed(config.seed)
        if pretrained is not None:
            self.data = pretrained.adapt(self.data, config)
            potential = pretrained.potential
            description = pretrained.description
        else:
            potential, description = self._build_potential(model)
            if not config.resume:
                self.data.check_references()
        self.data.check_elements()
        potential.to(getattr(torch, config.precision))
        self.module = PotentialModule(
            potential, build_loss(self.data, config, loss), config,
            {'config': asdict(config), **description,
             **self.data.description})
        if config.num_processes == 1:  # others have a device each
            self.module.to(self.device)
        if config.compiles and isinstance(potential.model, MoleculeModel):
            potential.compile()  # not the average: it is rarely called
            self.module.compiles = True
        self.module.steps_of_validation = (
            self.data.steps_of_validation(config))
        self.random_state = torch.get_rng_state()  # of this run alone
        if config.resume:
            self._restore()

    @property
    def potential(self) -> Predictor:
        r"""The potential or property with the weights of the last step."""
        return self.module.potential

    @property
    def average(self) -> AveragedModel:
        r"""The moving average of the weights, :obj:`average.module`."""
        return self.module.average

    @property
    def step(self) -> int:
        r"""The number of steps so far."""
        return self.module.step

    @property
    def seconds(self) -> float:
        r"""The processor time of training so far, without validations."""
        return self.module.seconds

    @property
    def history(self) -> list[Metrics]:
        r"""The validations."""
        return self.module.history

    @property
    def best(self) -> float:
        r"""The best score of a validation."""
        return self.module.best

    @property
    def is_global_zero(self) -> bool:
        r"""Whether this is the process that writes and prints."""
        return self.config.num_processes == 1 or is_first_process()

    def before_pretraining(self) -> None:
        r"""Is called before a pretraining, with the :obj:`data` that follow
        it. Here it does nothing.
        """

    @own_global_state()
    def fit(self, callbacks: Sequence[Any] = ()) -> None:
        r"""Trains up to the last step, or until the time is over.

        Args:
            callbacks (list of pytorch_lightning.Callback, optional): Callbacks
                of your own. (default: :obj:`()`)

        Raises:
            KeyboardInterrupt: After an interruption, at the end of the step it
                came in, with everything saved that the run needs to go on.
            ValueError: If another process writes to the folder.
        """
        from torch_sake.runs.lightning import run
        from torch_sake.training.datamodule import FramesModule
        with self._held_folder():
            torch.manual_seed(self.config.seed)  # of GPUs
            torch.set_rng_state(self.random_state)
            last = osp.join(self.config.out, LAST)
            last = last if osp.exists(last) else None
            if last is not None:
                self._restore()
            if self.module.finished:
                self._add_uncertainty()
                return
            try:
                run(self.module, FramesModule(self.data, self.config),
                    self.device, last, callbacks, **self._lightning_options())
            finally:
                self.random_state = torch.get_rng_state()
                self.device = self.module.device
            if self.module.finished:
                self._add_uncertainty()

    def _add_uncertainty(self) -> None:
        if self.is_global_zero and self.adds_uncertainty:
            add_uncertainty(self.config, self.data, self.step, self.device)

    def _lightning_options(self) -> dict[str, Any]:
        from pytorch_lightning.loggers import TensorBoardLogger
        from pytorch_lightning.strategies import DDPStrategy
        config = self.config
        options = dict(devices=config.devices, num_nodes=config.num_nodes,
                       deterministic=config.deterministic or None)
        if config.num_processes > 1:
            # Buffers do not change. All parameters of our models have
            # gradients, others have to be looked at, which takes time in each
            # step.
            own = isinstance(self.potential.model, MoleculeModel)
            options['strategy'] = DDPStrategy(broadcast_buffers=False,
                                              find_unused_parameters=not own)
        if config.tensorboard:
            options['logger'] = TensorBoardLogger(
                config.out, name='tensorboard', version='',
                default_hp_metric=False)
        return options

    def _build_potential(
        self, model: torch.nn.Module | type
    ) -> tuple[Predictor, dict[str, Any]]:
        r"""Returns an untrained potential or property and its description."""
        config, data = self.config, self.data
        description = {'model': None,
                       'prior': describe_repulsion(config, data.frames)}
        if not isinstance(model, torch.nn.Module):
            model, description['model'] = build_model(model, config, data)
        if data.isolated_atoms is not None:
            description['bonds'] = {'cutoff': config.cutoff or 5.0,
                                    'length': data.frames.units['length']}
        potential = assemble(model, data.atomic_energies, {
            **description, **data.description})
        if data.isolated_atoms is not None:
            fit_bonds(potential, data)
        return potential, description

    def _restore(self) -> None:
        # Older runs did not know all settings, and had them as by default.
        self.module.restore(osp.join(self.config.out, LAST),
                            dict(asdict(TrainConfig()), zbl=False))

    def _held_folder(self) -> AbstractContextManager[None]:
        # Processes of one run share it; the first one has it for all.
        return (hold_folder(self.config.out) if self.is_global_zero else
                nullcontext())
