import os.path as osp

from torch_sake.cli.threads import limit_threads
from torch_sake.evaluation.metrics import predict, trivial_labels
from torch_sake.evaluation.plots import plot_learning_curve
from torch_sake.evaluation.report import describe_labels, report_errors
from torch_sake.potentials.load import load_predictor
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.global_state import (
    own_global_state,
    use_deterministic_algorithms,
)
from torch_sake.utils.inputs import BEST, LAST
from torch_sake.utils.names import is_import_path


def train(config: TrainConfig) -> None:
    r"""Trains a potential, or a property, and reports its errors on the test
    frames.
    """
    trainer = Trainer(config)
    data = trainer.data
    sizes = {name: part.numel() for name, part in vars(data.split).items()}
    parameters = sum(p.numel() for p in trainer.potential.parameters())
    if trainer.is_global_zero:
        number = config.num_processes
        print(f'{data.frames.source}: {sizes} frames with '
              f'{describe_labels(data.frames)}, {parameters} parameters, on '
              f'{trainer.device}'
              + (f' ({number} processes)' if number > 1 else ''))
    if trainer.device.type == 'cpu':
        limit_threads(data.edges_per_step(config))
    try:
        trainer.fit()
    except KeyboardInterrupt:
        saved = osp.exists(osp.join(config.out, LAST))
        if trainer.is_global_zero and saved:
            print(f"\nStopped at step {trainer.step}; '{BEST}' in "
                  f"{config.out} can be used, '--resume' goes on from "
                  f"'{LAST}'.")
        raise
    if trainer.is_global_zero:
        report(trainer)


@own_global_state()
def report(trainer: Trainer) -> None:
    r"""Reports the errors of the best potential of a run."""
    config, data = trainer.config, trainer.data
    if config.deterministic:
        use_deterministic_algorithms()
    units = data.frames.units
    plot_learning_curve(trainer.history, units, config.out)
    part = 'test' if data.split.test.numel() > 0 else 'val'
    own = config.model if is_import_path(config.model) else None
    potential = load_predictor(config.out, model=own)[0]
    trivial = trivial_labels(potential, data.batches(part))
    outputs = predict(potential.to(trainer.device), data.batches(part),
                      trainer.device)
    report_errors(outputs, trivial, units, config.out, part,
                  f'\nErrors on the {part} frames '
                  f'({getattr(data.split, part).numel()}; '
                  f'{trainer.seconds:.0f} s of processor time for training)')
    print(f'\nThe run is in {config.out}')
