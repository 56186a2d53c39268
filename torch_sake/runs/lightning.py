import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy

from torch_sake.models import MoleculeModel
from torch_sake.runs.checkpoint_io import SafetensorsIO
from torch_sake.training.callbacks import Progress, RunFolder
from torch_sake.training.module import PotentialModule

# What says nothing to the user of a run, by the beginning of the message:
NOISE = (
    r'`isinstance\(treespec, LeafSpec\)` is deprecated',
    r'`broadcast_buffers` is deprecated',  # older versions have nothing else
    r'Grad strides do not match bucket view strides',
)


def build_trainer(module: PotentialModule, device: torch.device,
                  callbacks: Sequence[Any]) -> Trainer:
    r"""Returns the trainer of Lightning for the rest of a run. Its epochs
    extend from one validation to the next.

    Args:
        module (PotentialModule): The potential.
        device (torch.device): The device, or the kind of several.
        callbacks (list of pytorch_lightning.Callback): Callbacks of the user.
    """
    config = module.config
    num_validations = -(-config.num_steps // config.val_interval)
    strategy, devices = 'auto', config.devices
    if config.num_processes > 1:
        # Buffers do not change. All parameters of our models have gradients,
        # others have to be looked at, which takes time in each step.
        own = isinstance(module.potential.model, MoleculeModel)
        strategy = DDPStrategy(broadcast_buffers=False,
                               find_unused_parameters=not own)
    elif device.index is not None:
        devices = [device.index]
    plugins = [SafetensorsIO()]
    if SLURMEnvironment.detect():
        # It would save in the middle of a step.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    logger = False
    if config.tensorboard:
        logger = TensorBoardLogger(config.out, name='tensorboard', version='',
                                   default_hp_metric=False)
    return Trainer(
        accelerator='gpu' if device.type == 'cuda' else device.type,
        devices=devices,
        num_nodes=config.num_nodes,
        strategy=strategy,
        plugins=plugins,
        callbacks=[Progress(), *callbacks, RunFolder(config.out)],
        logger=logger,
        max_epochs=num_validations - module.step // config.val_interval,
        deterministic=config.deterministic or None,
        default_root_dir=config.out,
        use_distributed_sampler=False,
        inference_mode=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def quiet() -> Iterator[None]:
    r"""Within this context, Lightning keeps its tips to itself. Its warnings
    of what goes wrong are heard.
    """
    loggers = [logging.getLogger(name)
               for name in ('pytorch_lightning', 'lightning_fabric')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', PossibleUserWarning)
            for message in NOISE:
                warnings.filterwarnings('ignore', message)
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
