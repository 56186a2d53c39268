from collections.abc import Callable, Iterator

from torch import Tensor
from torch.utils.data import Sampler

from torch_sake.datasets.frames.split import epoch_order
from torch_sake.training.batching import share
from torch_sake.training.config import TrainConfig


class StepSampler(Sampler):
    r"""The indices of the frames of each step up to the next validation.

    Frames are put in an order of its own in each epoch, which follows from the
    seed and the number of the epoch alone, and this order is cut into batches:
    a run that was interrupted goes on with the batches that it would have
    seen. The frames that are left at the end of an epoch, too few for a batch,
    wait for another one. Where several processes share a step, each takes a
    part of its frames, see :func:`~torch_sake.training.batching.share`.

    Args:
        sizes (torch.Tensor): What each training frame adds to a batch, of
            which the configuration limits the sum, :obj:`[M]`.
        config (TrainConfig): The run.
        step (callable): Returns the number of steps that are done.
        rank (int, optional): The number of this process. (default: :obj:`0`)
        num_processes (int, optional): The number of processes.
            (default: :obj:`1`)
    """
    def __init__(self, sizes: Tensor, config: TrainConfig,
                 step: Callable[[], int], rank: int = 0,
                 num_processes: int = 1):
        self.sizes = sizes
        self.config = config
        self.step = step
        self.rank = rank
        self.num_processes = num_processes
        self._enter(0, 0)

    # Without a length, which differs from one validation to the next.
    def __iter__(self) -> Iterator[list[int]]:
        begin = self.step()
        for step in range(begin, self.config.next_validation(begin)):
            yield share(self._batch(step), self.sizes, self.rank,
                        self.num_processes)

    def _batch(self, step: int) -> list[int]:
        if step < self.first_step:
            self._enter(0, 0)
        # Epochs may differ in their numbers of steps.
        while step >= self.first_step + len(self.cuts) - 1:
            self._enter(self.epoch + 1, self.first_step + len(self.cuts) - 1)
        number = step - self.first_step
        return self.order[self.cuts[number]:self.cuts[number + 1]].tolist()

    def _enter(self, epoch: int, first_step: int) -> None:
        limit = self.config.batch_limit
        self.epoch, self.first_step = epoch, first_step
        self.order = epoch_order(self.sizes.numel(), self.config.seed, epoch)
        sizes = self.sizes[self.order]
        self.cuts = limit.cut(sizes)
        rest = int(sizes[self.cuts[-2]:].sum())
        if len(self.cuts) > 2 and rest < limit.number:
            self.cuts.pop()
