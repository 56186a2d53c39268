import os

import torch

EDGES_PER_THREAD = 1000


def limit_threads(num_edges: float) -> int:
    r"""Has torch compute with one thread for each thousand edges of a step,
    but no more than it would have taken, and returns their number. The
    environment variable :obj:`OMP_NUM_THREADS` takes precedence.

    Several threads gain little with small batches, and lose all where another
    program wants one of their cores: each of hundreds of products in a step
    then waits for the thread that has to wait.
    """
    number = torch.get_num_threads()
    if 'OMP_NUM_THREADS' not in os.environ:
        number = min(number, max(round(num_edges / EDGES_PER_THREAD), 1))
        torch.set_num_threads(number)
    return number
