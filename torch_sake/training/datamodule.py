import signal
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.runs.interrupt import DeferredInterrupt
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.training.sampler import StepSampler


class FramesModule(LightningDataModule):
    r"""The batches of a training run. Each process gets its share of a step
    and of the validation frames.

    Args:
        data (TrainingData): The frames and their split.
        config (TrainConfig): The run.
    """
    def __init__(self, data: TrainingData, config: TrainConfig):
        super().__init__()
        self.data = data
        self.config = config

    def train_dataloader(self) -> DataLoader:
        r"""Returns the batches of the steps up to the next validation, each
        time that it is iterated over."""
        sampler = StepSampler(
            self.data.sizes, self.config,
            lambda: self.trainer.lightning_module.step,
            self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(self.data.part('train'), batch_sampler=sampler,
                          **self._workers())

    def val_dataloader(self) -> DataLoader:
        r"""Returns the batches of the validation frames."""
        val = self.data.split.val[
            self.trainer.global_rank::self.trainer.world_size]
        return self.data.eval_limit.batches(self.data.frames[val],
                                            **self._workers())

    def transfer_batch_to_device(self, batch: Data, device: torch.device,
                                 dataloader_idx: int) -> Data:
        # Without a search for tensors in what might be any nest of things.
        return batch.to(device)

    def _workers(self) -> dict[str, Any]:
        num_workers = self.config.num_workers
        # A generator of its own: the numbers of the global one are the
        # model's.
        return dict(num_workers=num_workers,
                    persistent_workers=num_workers > 0,
                    worker_init_fn=ignore_interruptions,
                    generator=torch.Generator())


def ignore_interruptions(worker: int) -> None:
    r"""Leaves interruptions to the training process, which still needs the
    batch of its step. A worker ends with it.
    """
    for number in DeferredInterrupt.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
