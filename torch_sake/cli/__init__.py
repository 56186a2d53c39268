r"""The command :obj:`torch-sake`."""

import importlib
import os
import os.path as osp
import signal
import sys
import warnings
from contextlib import suppress
from typing import Any

from torch_sake.cli.door import check_inputs
from torch_sake.cli.memory import keep_memory
from torch_sake.utils.messages import one_line

LONGEST = 2000  # characters of a message, which may name several paths
BROKEN_PIPE = 128 + 13  # as of a process that its signal ends
FORMAT = warnings.formatwarning  # of Python
PACKAGE = osp.dirname(osp.dirname(__file__))


def main(arguments: list[str] | None = None) -> int:
    r"""Runs a command and returns the exit status: 0, 1 for a simulation or
    a training run that could not go on or whose result cannot be trusted, 2
    for wrong arguments or files, 130 for an interruption, 141 if nobody reads
    what it prints.
    """
    try:
        import ase  # noqa: F401

        from torch_sake.cli.parser import parse_arguments
    except ImportError as error:
        print(f"torch-sake needs '{error.name}': "
              f"pip install 'torch-sake[train]'", file=sys.stderr)
        return 2
    commands = configurations()
    keep_memory()
    # A scheduler's polite end of a job is an interruption, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        name, values = parse_arguments(
            sys.argv[1:] if arguments is None else arguments, commands)
    except (ValueError, OverflowError) as error:
        return fail('torch-sake', error)
    try:
        config = commands[name][0](**values)
        check_inputs(name, config)
    except (ValueError, TypeError, OSError) as error:
        return fail(f'torch-sake {name}', error)
    before, warnings.formatwarning = warnings.formatwarning, format_warning
    try:
        return run_command(name, config)
    except KeyboardInterrupt:
        print(f'torch-sake {name}: interrupted', file=sys.stderr)
        return 130
    finally:
        warnings.formatwarning = before


def format_warning(message: Any, category: type, filename: str, *where: Any,
                   **kwargs: Any) -> str:
    r"""Returns a warning as it is printed: in one line if it is of this
    package.
    """
    if filename.startswith((PACKAGE, 'torch_sake')):
        return f'torch-sake: {one_line(str(message), LONGEST)}\n'
    return FORMAT(message, category, filename, *where, **kwargs)


def configurations() -> dict[str, tuple[type, str]]:
    r"""Returns the settings and the description of each command. None of
    them needs torch, which takes seconds to import.
    """
    from torch_sake.benchmark.config import BenchmarkConfig
    from torch_sake.cli.configs import ConvertConfig
    from torch_sake.evaluation.config import EvaluateConfig
    from torch_sake.forecasting.config import DynamicsConfig
    from torch_sake.learning.config import LearnConfig
    from torch_sake.simulation.config import MDConfig, RelaxConfig
    from torch_sake.training.config import TrainConfig
    return {
        'convert': (ConvertConfig,
                    'Convert labeled structures to a file that training reads '
                    'frame by frame.'),
        'train': (TrainConfig,
                  'Train a potential on energies and, if given, forces.'),
        'learn': (LearnConfig,
                  'Simulate, label where the potential is unsure, train on '
                  'that, until it holds.'),
        'dynamics': (DynamicsConfig,
                     'Train a model to forecast positions.'),
        'evaluate': (EvaluateConfig,
                     'Measure the errors of a trained potential.'),
        'md': (MDConfig,
               'Simulate molecular dynamics with a trained potential.'),
        'relax': (RelaxConfig,
                  'Find the structure of least energy and its vibrations.'),
        'benchmark': (BenchmarkConfig,
                      'Measure time, memory and work of models side by side.'),
    }


def run_command(name: str, config: Any) -> int:
    r"""Runs the function of a command, which has its name and that of its
    module, and returns the exit status.
    """
    from torch_sake.runs.diverged import Diverged
    from torch_sake.simulation import SimulationStopped, Unsound
    run = getattr(importlib.import_module(f'torch_sake.cli.{name}'), name)
    try:
        run(config)
        sys.stdout.flush()
    except BrokenPipeError:
        return leave_pipe()
    except (ValueError, TypeError, ImportError, OSError) as error:
        return fail(f'torch-sake {name}', error)
    except (SimulationStopped, Unsound, Diverged) as error:
        return fail(f'torch-sake {name}', error, 1)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return fail(f'torch-sake {name}', f'out of memory ({error})', 1)
    return 0


def leave_pipe() -> int:
    r"""Returns the exit status of who is not listened to any more, such as by
    :obj:`head`.
    """
    # Python would complain of the rest of the output at its end.
    with open(os.devnull, 'w') as nowhere, suppress(OSError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return BROKEN_PIPE


def fail(command: str, error: Any, status: int = 2) -> int:
    r"""Says in one line what is wrong, and returns the exit status."""
    print(f'{command}: {one_line(str(error), LONGEST)}', file=sys.stderr)
    return status


def is_out_of_memory(error: Exception) -> bool:
    r"""Returns whether there was no memory left: that of torch on the CPU is
    an error without a type of its own.
    """
    from torch.cuda import OutOfMemoryError
    return isinstance(error, (MemoryError, OutOfMemoryError)) or (
        "can't allocate memory" in str(error))
