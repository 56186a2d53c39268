r"""What the processes that share a training run tell each other. A run of one
process has no others to talk to, and needs no process group.
"""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def num_processes() -> int:
    r"""Returns the number of processes that take part."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def is_first_process() -> bool:
    r"""Returns whether this is the process of rank zero, also before Lightning
    has counted them: until then, the first ones of other nodes have no rank.
    """
    from pytorch_lightning.utilities import rank_zero_only
    node = os.environ.get('NODE_RANK', os.environ.get('GROUP_RANK', '0'))
    return rank_zero_only.rank == 0 and int(node) == 0


def sum_over_processes(value: Tensor) -> Tensor:
    r"""Returns the sum of the values of all processes."""
    if num_processes() > 1:
        dist.all_reduce(value)
    return value


def of_first_process(value: int, device: torch.device) -> int:
    r"""Returns the value of the process of rank zero."""
    if num_processes() == 1:
        return value
    tensor = torch.tensor(value, device=device)
    dist.broadcast(tensor, 0)
    return int(tensor)


def any_process(value: bool, device: torch.device) -> bool:
    r"""Returns whether the value is true in any process."""
    if num_processes() == 1:
        return value
    return bool(sum_over_processes(torch.tensor(int(value), device=device)))
