r"""What a simulation goes on from."""

import json
import os
import os.path as osp
import warnings
from typing import Any

import numpy

from torch_sake.checkpoint import load_checkpoint
from torch_sake.simulation.config import MDConfig
from torch_sake.simulation.records import LOG, Records, trajectory_name
from torch_sake.simulation.report import UNCERTAINTY
from torch_sake.utils.checks import check_same_settings
from torch_sake.utils.files import read_arrays, replace_when_complete
from torch_sake.utils.fingerprint import digest, fingerprint
from torch_sake.utils.messages import errors_name
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import require

RESTART = 'restart.npz'
# Settings that may change when a simulation goes on:
FREE = {'out', 'resume', 'num_steps', 'device', 'compile', 'max_force_std',
        'structure', 'model'}

DIGEST = 'digest'
# Kinds of numpy's types and shapes of what is in the file; N is the number of
# atoms. That of the barostat depends on the ensemble.
ARRAYS = {
    'config': ('U', ()), 'step': ('i', ()), 'num_frames': ('i', ()),
    'numbers': ('i', ('N', )), 'positions': ('f', ('N', 3)),
    'momenta': ('f', ('N', 3)), 'cell': ('f', (3, 3)),
    'cell_momentum': ('f', None), 'cell_force': ('f', None), 'rng': ('U', ()),
}
# Simulations of earlier versions know the elements only.
OPTIONAL = {'pbc': ('b', (3, )), 'masses': ('f', ('N', )),
            'constraints': ('U', ()), 'charge_and_spin': ('U', ())}


def save_state(path: PathLike, state: dict[str, Any]) -> None:
    r"""Writes a state, completely or not at all."""
    arrays = {name: numpy.asarray(value) for name, value in state.items()}
    with replace_when_complete(path) as temporary:
        # Its digest comes first: the end of an archive is what gets lost.
        numpy.savez(temporary, **{DIGEST: digest(arrays), **arrays})


def load_state(config: MDConfig, out: str,
               settings: dict[str, Any]) -> dict[str, Any] | None:
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
    path = osp.join(out, RESTART)
    if not config.resume:
        for name in (RESTART, LOG, trajectory_name(config.format)):
            require(not osp.exists(osp.join(out, name)),
                    f"'out' must not hold a simulation already, unless it "
                    f"goes on with 'resume' (got {out}, with {name})")
        return None
    require(osp.exists(path), f"'resume' needs a simulation in 'out', which "
                              f"has no '{RESTART}' (got {out})")
    with errors_name(path):
        state = read_state(path)
        check_same_settings(settings, json.loads(str(state['config'])), FREE,
                            'simulation')
    require(state['step'] <= config.num_steps,
            f"'num_steps' must be at least {state['step']}, the steps that "
            f"are done (got {config.num_steps})")
    return state


def fingerprint_of_forces(checkpoint: PathLike) -> str:
    r"""Returns what tells a checkpoint from others: all of it but for its
    uncertainties, which atoms do not feel, and which can be fitted anew.
    """
    tensors, _ = load_checkpoint(checkpoint)
    return fingerprint([{name: value for name, value in tensors.items()
                         if not name.startswith('potential.rigidity.')}])


def check_same_columns(records: Records, is_uncertain: bool) -> None:
    r"""Raises an error if a log that goes on would get other columns."""
    require((UNCERTAINTY in records.rows()) == is_uncertain,
            f"'resume' needs a checkpoint with"
            f"{'out' if is_uncertain else ''} uncertainties of forces, as "
            f"the simulation began with, whose log is '{records.log}' "
            f"(got one with{'' if is_uncertain else 'out'})")


def last_save(out: str) -> tuple[int, int] | None:
    r"""Returns what tells the state in a folder from later ones, or
    :obj:`None` if there is none.
    """
    path = osp.join(out, RESTART)
    if not osp.exists(path):
        return None
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns


def read_state(path: PathLike) -> dict[str, numpy.ndarray]:
    r"""Returns what :func:`save_state` wrote.

    Raises:
        ValueError: If the file is damaged, or something in it is missing or of
            another type or shape.
    """
    state = read_arrays(path, tuple(ARRAYS), (*OPTIONAL, DIGEST))
    with numpy.load(path) as archive:  # what has lost its name, too
        names = set(archive.files)
    found = state.pop(DIGEST, None)
    if found is None and names == state.keys():
        warnings.warn(f"'{path}' is of an older version of torch_sake, "
                      f"without a digest: damage to it would not be seen")
    else:
        require(found is not None and str(found) == digest(state),
                f"'{path}' is damaged: Its arrays are not those that were "
                f"written")
    for name, value in state.items():
        kind, shape = {**ARRAYS, **OPTIONAL}[name]
        shape = value.shape if shape is None else tuple(
            state['numbers'].size if size == 'N' else size for size in shape)
        require((value.dtype.kind, value.shape) == (kind, shape),
                f"'{name}' must be of kind '{kind}' and shape {shape} "
                f"(got {value.dtype} of shape {value.shape})")
        require(kind not in 'fi' or numpy.isfinite(value).all() and (
            kind == 'f' or (value >= 0).all()),
                f"'{name}' must be finite and not negative")
    # Raises an error if it is no state of the random numbers:
    numpy.random.default_rng().bit_generator.state = json.loads(
        str(state['rng']))
    return state
