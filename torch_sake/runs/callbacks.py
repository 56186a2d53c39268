import os.path as osp
from dataclasses import asdict, replace
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint
from tqdm import tqdm

from torch_sake.optim.schedule import waits
from torch_sake.runs.checkpoint_io import SafetensorsIO
from torch_sake.runs.distributed import any_process
from torch_sake.runs.interrupt import DeferredInterrupt
from torch_sake.runs.module import RunModule
from torch_sake.utils.files import (
    check_folder,
    remove_incomplete,
    write_rows,
    write_settings,
)
from torch_sake.utils.inputs import BEST, LAST
from torch_sake.utils.plain_checks import require


class Interrupted(Exception):
    r"""A run stops, with everything saved. A :class:`KeyboardInterrupt` would
    make Lightning end the process.
    """


def check_out(folder: str, resume: bool) -> None:
    r"""Raises an error if a folder holds a run and none is to go on, or has
    none that could.
    """
    require(resume or not osp.exists(osp.join(folder, LAST)),
            f"'out' must not hold a run already, unless it goes on with "
            f"'resume' (got {folder})")
    for name in (LAST, BEST) if resume else ():
        require(osp.exists(osp.join(folder, name)),
                f"'resume' needs a run in 'out', which has no '{name}' "
                f"(got {folder})")


class RunFolder(Checkpoint):
    r"""Keeps the files of a run: :obj:`config.yaml`, :obj:`metrics.csv`,
    :obj:`best.safetensors` and :obj:`last.safetensors`. These are written at
    each validation, and the last one at the end of the step in which an
    interruption comes, too.

    Args:
        folder (str): The folder.
    """
    def __init__(self, folder: str):
        self.folder = folder
        self.interrupt = DeferredInterrupt()

    def on_fit_start(self, trainer: Trainer, module: RunModule) -> None:
        if trainer.is_global_zero:
            remove_incomplete(self.folder)
            write_settings(osp.join(self.folder, 'config.yaml'),
                           asdict(replace(module.config, resume=False)))

    # Lightning has handlers of signals of its own, which do not save, from
    # before this hook to after the other two.
    def on_train_start(self, trainer: Trainer, module: RunModule) -> None:
        self.interrupt.__enter__()

    def on_train_end(self, trainer: Trainer, module: RunModule) -> None:
        self.interrupt.__exit__()

    def on_exception(self, trainer: Trainer, module: RunModule,
                     exception: BaseException) -> None:
        self.interrupt.__exit__()

    def on_train_batch_end(self, trainer: Trainer,
                           module: RunModule, *args: Any) -> None:
        if module.validates:
            return  # after that
        if any_process(self.interrupt.requested, module.device):
            module.stop_clock()
            if trainer.is_global_zero:
                check_folder(self.folder)
                if not osp.exists(osp.join(self.folder, BEST)):
                    self._save_best(module)
            trainer.save_checkpoint(osp.join(self.folder, LAST))
            raise Interrupted

    def on_validation_end(self, trainer: Trainer, module: RunModule) -> None:
        if trainer.is_global_zero:
            check_folder(self.folder)
            write_rows(osp.join(self.folder, 'metrics.csv'), module.history)
            if waits(module.scores)[-1] == 0:
                self._save_best(module)
        trainer.save_checkpoint(osp.join(self.folder, LAST))
        if any_process(self.interrupt.requested, module.device):
            raise Interrupted

    def _save_best(self, module: RunModule) -> None:
        SafetensorsIO().save_checkpoint(module.kept(),
                                        osp.join(self.folder, BEST))


class Progress(Callback):
    r"""One bar for all steps of a run, drawn once in a second."""
    bar: tqdm | None = None

    def on_train_batch_start(self, trainer: Trainer, module: RunModule,
                             *args: Any) -> None:
        if self.bar is None:  # after all that is said before the first step
            self.bar = tqdm(total=module.num_steps, initial=module.step,
                            unit='step', desc='training', mininterval=1.0,
                            dynamic_ncols=True,
                            disable=not trainer.is_global_zero)

    def on_train_batch_end(self, trainer: Trainer, module: RunModule,
                           *args: Any) -> None:
        self.bar.total = module.num_steps
        self.bar.update()

    def on_validation_end(self, trainer: Trainer, module: RunModule) -> None:
        self.bar.set_postfix({name: f'{value:.4g}'
                              for name, value in module.shown.items()})

    def on_train_end(self, *args: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, *args: Any) -> None:
        self.on_train_end()
