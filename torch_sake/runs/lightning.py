import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.plugins.environments import SLURMEnvironment

from torch_sake.runs.callbacks import Interrupted, Progress, RunFolder
from torch_sake.runs.checkpoint_io import SafetensorsIO
from torch_sake.runs.module import RunModule
from torch_sake.runs.trial import Trial

# What says nothing to the user of a run, by the beginning of the message:
NOISE = (
    r'`isinstance\(treespec, LeafSpec\)` is deprecated',
    r'`broadcast_buffers` is deprecated',  # older versions have nothing else
    r'Grad strides do not match bucket view strides',
)


def run(module: RunModule, data: LightningDataModule, device: torch.device,
        last: str | None = None, callbacks: Sequence[Any] = (),
        **options: Any) -> None:
    r"""Trains up to the last step. The module is then on the device that it
    was trained on.

    Args:
        module (RunModule): What is trained.
        data (pytorch_lightning.LightningDataModule): The batches.
        device (torch.device): The device, or the kind of several.
        last (str, optional): The checkpoint to go on from.
            (default: :obj:`None`)
        callbacks (list of pytorch_lightning.Callback, optional): Callbacks of
            the user. (default: :obj:`()`)
        **options (optional): Further arguments of Lightning's trainer.

    Raises:
        KeyboardInterrupt: After an interruption.
    """
    if device.index is not None:
        options['devices'] = [device.index]
    plugins = [SafetensorsIO()]
    if SLURMEnvironment.detect():
        # It would save in the middle of a step.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    folder = module.config.out
    num_epochs = -1  # as many as there is time for
    if module.max_time is None:
        num_validations = -(-module.num_steps // module.val_interval)
        num_epochs = num_validations - module.step // module.val_interval
    module.timer.start()
    with quiet():
        trainer = Trainer(
            accelerator='gpu' if device.type == 'cuda' else device.type,
            plugins=plugins,
            callbacks=[Trial(), Progress(), *callbacks, RunFolder(folder)],
            max_epochs=num_epochs,
            default_root_dir=folder,
            use_distributed_sampler=False,
            inference_mode=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{'devices': 1, 'logger': False, **options})
        try:
            trainer.fit(module, data, ckpt_path=last)
        except Interrupted:
            raise KeyboardInterrupt from None
        except SystemExit as error:
            # What Lightning makes of an interruption that does not wait.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            module.timer.stop()
            module.to(trainer.strategy.root_device)


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
