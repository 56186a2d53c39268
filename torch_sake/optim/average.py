import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage(AveragedModel):
    r"""The exponential moving average of the weights of a model. Its decay
    after :math:`n` steps is :math:`\min(d, (1 + n) / (10 + n))`, as the first
    steps should not weigh in for long.

    Args:
        model (torch.nn.Module): The model. The average, :obj:`module`, is a
            copy of it.
        decay (float): The decay :math:`d`; 0 for none.
    """
    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        super().__init__(model, multi_avg_fn=self._update)
        self.requires_grad_(False).eval()

    def _update(self, averages: list[Tensor], values: list[Tensor],
                num_averaged: Tensor) -> None:
        number = int(num_averaged)
        decay = min(self.decay, (1 + number) / (10 + number))
        get_ema_multi_avg_fn(decay)(averages, values, num_averaged)
