r"""What a simulation goes on from."""

import json
import os
import os.path as osp
from typing import Any, Dict, Optional, Tuple

from torch_sake.checks import check_same_settings
from torch_sake.files import read_arrays
from torch_sake.simulation.config import MDConfig
from torch_sake.simulation.records import LOG, trajectory_name

RESTART = 'restart.npz'
# Settings that may change when a simulation goes on:
FREE = {'out', 'resume', 'num_steps', 'device', 'compile', 'max_force_std',
        'structure'}


def load_state(config: MDConfig, out: str,
               settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    r"""Returns the state of the simulation in a folder, or :obj:`None` if none
    is to go on.

    Args:
        config (MDConfig): What the simulation is made of.
        out (str): The folder.
        settings (dict): The configuration, with what is in its checkpoints.

    Raises:
        ValueError: If the folder holds a simulation that is not to go on, or
            none that is, or one of other settings or of more steps.
    """
    if not config.resume:
        for name in (RESTART, LOG, trajectory_name(config.format)):
            if osp.exists(osp.join(out, name)):
                raise ValueError(f"'out' must not hold a simulation already, "
                                 f"unless it goes on with 'resume' (got "
                                 f"{out}, with {name})")
        return None
    path = osp.join(out, RESTART)
    if not osp.exists(path):
        raise ValueError(f"'resume' needs a simulation in 'out', which has no "
                         f"'{RESTART}' (got {out})")
    state = read_arrays(path, (
        'config', 'step', 'num_frames', 'numbers', 'positions', 'momenta',
        'cell', 'cell_momentum', 'cell_force', 'rng'),
        optional=('pbc', 'masses', 'constraints'))
    check_same_settings(settings, json.loads(str(state['config'])), FREE,
                        'simulation')
    if state['step'] > config.num_steps:
        raise ValueError(f"'num_steps' must be at least {state['step']}, the "
                         f"steps that are done (got {config.num_steps})")
    return state


def last_save(out: str) -> Optional[Tuple[int, int]]:
    r"""Returns what tells the state in a folder from later ones, or
    :obj:`None` if there is none.
    """
    path = osp.join(out, RESTART)
    if not osp.exists(path):
        return None
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns
