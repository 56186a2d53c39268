from typing import Callable, Iterator, List

from torch.utils.data import Sampler

from torch_sake.datasets.split import epoch_order
from torch_sake.training.config import TrainConfig


class StepSampler(Sampler):
    r"""The indices of the frames of each step up to the next validation.

    Frames are put in an order of its own in each epoch, which follows from the
    seed and the number of the epoch alone: a run that was interrupted goes on
    with the batches that it would have seen. Where several processes share a
    step, each takes every :obj:`num_processes`-th frame of it.

    Args:
        num_frames (int): Number of training frames.
        config (TrainConfig): The run.
        step (callable): Returns the number of steps that are done.
        rank (int, optional): The number of this process. (default: :obj:`0`)
        num_processes (int, optional): The number of processes.
            (default: :obj:`1`)
    """
    def __init__(self, num_frames: int, config: TrainConfig,
                 step: Callable[[], int], rank: int = 0,
                 num_processes: int = 1):
        self.num_frames = num_frames
        self.config = config
        self.step = step
        self.rank = rank
        self.num_processes = num_processes

    # Without a length, which differs from one validation to the next.
    def __iter__(self) -> Iterator[List[int]]:
        batch_size = self.config.batch_size
        per_epoch = max(self.num_frames // batch_size, 1)
        begin, order = self.step(), None
        for step in range(begin, self.config.next_validation(begin)):
            epoch, number = divmod(step, per_epoch)
            if number == 0 or order is None:
                order = epoch_order(self.num_frames, self.config.seed,
                                    epoch)
            batch = order[number * batch_size:(number + 1) * batch_size]
            yield batch[self.rank::self.num_processes].tolist()
