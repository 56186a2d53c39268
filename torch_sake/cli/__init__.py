r"""The command :obj:`torch-sake`."""

import argparse
import signal
import sys
from typing import List, Optional


def main(arguments: Optional[List[str]] = None) -> int:
    r"""Runs a command and returns the exit status: 0, 1 for a simulation or
    a training run that could not go on, 2 for wrong arguments or files, 130
    for an interruption.
    """
    try:
        import ase  # noqa: F401
        from torch_sake.cli.settings import CommandParser
    except ImportError as error:
        print(f"torch-sake needs '{error.name}': "
              f"pip install 'torch-sake[train]'", file=sys.stderr)
        return 2
    from torch_sake.benchmark.run import BenchmarkConfig
    from torch_sake.cli.benchmark import benchmark
    from torch_sake.cli.convert import ConvertConfig, convert
    from torch_sake.cli.dynamics import dynamics
    from torch_sake.cli.evaluate import EvaluateConfig, evaluate
    from torch_sake.cli.md import md
    from torch_sake.cli.memory import keep_memory
    from torch_sake.cli.relax import RelaxConfig, relax
    from torch_sake.cli.train import train
    from torch_sake.dynamics import DynamicsConfig
    from torch_sake.simulation import MDConfig, SimulationStopped
    from torch_sake.training import TrainConfig
    from torch_sake.training.diverged import Diverged

    commands = {
        'convert': (ConvertConfig, convert,
                    'Convert labeled structures to a file that training reads '
                    'frame by frame.'),
        'train': (TrainConfig, train,
                  'Train a potential on energies and, if given, forces; with '
                  '--task dynamics, what the command dynamics does.'),
        'dynamics': (DynamicsConfig, dynamics,
                     'Train a model to forecast positions.'),
        'evaluate': (EvaluateConfig, evaluate,
                     'Measure the errors of a trained potential.'),
        'md': (MDConfig, md,
               'Simulate molecular dynamics with a trained potential.'),
        'relax': (RelaxConfig, relax,
                  'Find the structure of least energy and its vibrations.'),
        'benchmark': (BenchmarkConfig, benchmark,
                      'Measure time, memory and work of models side by side.'),
    }
    parser = CommandParser(
        prog='torch-sake', description='SAKE: equivariant potentials, from '
        'data to a trained model and to simulations.')
    subcommands = parser.add_subcommands(dest='command')
    for name, (config, _, description) in commands.items():
        command = CommandParser(description=description)
        command.add_argument('--config', action='config',
                             help='A YAML file with these settings.')
        resumes = hasattr(config, 'resume')
        command.add_class_arguments(config, as_group=False,
                                    skip={'resume'} if resumes else set())
        if resumes:
            command.add_argument('--resume', action='store_true',
                                 help="Go on with the run in 'out'.")
        subcommands.add_subcommand(name, command, help=description)

    keep_memory()
    # A scheduler's polite end of a job is an interruption, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = parser.parse_args(choose_task(
            sys.argv[1:] if arguments is None else arguments))
    except UnicodeDecodeError as error:
        print(f"torch-sake: '--config' must be a file of text ({error})",
              file=sys.stderr)
        return 2
    config_class, run, _ = commands[settings.command]
    values = settings[settings.command].as_dict()
    values.pop('config', None)
    try:
        run(config_class(**values))
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f'torch-sake {settings.command}: {error}', file=sys.stderr)
        return 2
    except (SimulationStopped, Diverged) as error:
        print(f'torch-sake {settings.command}: {error}', file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print(f'torch-sake {settings.command}: out of memory ({error})',
              file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'torch-sake {settings.command}: interrupted', file=sys.stderr)
        return 130
    return 0


def is_out_of_memory(error: Exception) -> bool:
    r"""Returns whether there was no memory left: that of torch on the CPU is
    an error without a type of its own.
    """
    from torch.cuda import OutOfMemoryError
    return isinstance(error, (MemoryError, OutOfMemoryError)) or (
        "can't allocate memory" in str(error))


def choose_task(arguments: List[str]) -> List[str]:
    r"""Returns the arguments, with the command :obj:`dynamics` in the place of
    :obj:`train --task dynamics`.
    """
    if arguments[:1] != ['train']:
        return arguments
    parser = argparse.ArgumentParser('torch-sake train', add_help=False,
                                     allow_abbrev=False)
    parser.add_argument('--task', choices=('potential', 'dynamics'),
                        default='potential')
    options, rest = parser.parse_known_args(arguments[1:])
    return ['dynamics' if options.task == 'dynamics' else 'train', *rest]
