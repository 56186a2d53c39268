from typing import Any, List

import torch
from pytorch_lightning import LightningDataModule
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.training.config import TrainConfig
from torch_sake.training.data import EVAL_BATCH_SIZE, TrainingData
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
        frames, split = self.data.frames, self.data.split
        train = [frames[i] for i in split.train.tolist()]
        sampler = StepSampler(
            len(train), self.config,
            lambda: self.trainer.lightning_module.step,
            self.trainer.global_rank, self.trainer.world_size)
        return self._loader(train, batch_sampler=sampler)

    def val_dataloader(self) -> DataLoader:
        r"""Returns the batches of the validation frames."""
        val = self.data.split.val[
            self.trainer.global_rank::self.trainer.world_size]
        return self._loader(self.data.frames[val], batch_size=EVAL_BATCH_SIZE)

    def transfer_batch_to_device(self, batch: Data, device: torch.device,
                                 dataloader_idx: int) -> Data:
        # Without a search for tensors in what might be any nest of things.
        return batch.to(device)

    def _loader(self, frames: List[Data], **kwargs: Any) -> DataLoader:
        num_workers = self.config.num_workers
        # A generator of its own: the numbers of the global one are the
        # model's.
        return DataLoader(frames, num_workers=num_workers,
                          persistent_workers=num_workers > 0,
                          generator=torch.Generator(), **kwargs)
