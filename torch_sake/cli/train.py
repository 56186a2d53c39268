import os.path as osp

from torch_sake.evaluation.report import describe_labels
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.pretraining import FOLDER
from torch_sake.training.report import (
    describe_references,
    report_data,
    report_run,
)
from torch_sake.training.splits import describe_sizes
from torch_sake.training.threads import limit_threads
from torch_sake.utils.inputs import BEST, LAST


class Reporting(Trainer):
    r"""Says what is known of the data before hours of pretraining."""
    def before_pretraining(self) -> None:
        report_data(self)


def train(config: TrainConfig) -> None:
    r"""Trains a potential, or a property, and reports its errors on the test
    frames.
    """
    try:
        trainer = Reporting(config)  # which pretrains
    except KeyboardInterrupt:
        if config.pretrain and osp.exists(osp.join(config.out, FOLDER)):
            print(f"\nStopped in the pretraining; '--resume' goes on in "
                  f"{config.out}.")
        raise
    data, number = trainer.data, config.num_processes
    parameters = sum(p.numel() for p in trainer.potential.parameters())
    if trainer.is_global_zero:
        sizes = describe_sizes(config, data.split, data.drawn)
        print(f'{data.frames.source}: {sizes} with '
              f'{describe_labels(data.frames)}, {parameters} parameters, on '
              f'{trainer.device}'
              + (f' ({number} processes)' if number > 1 else ''))
        line = describe_references(trainer)
        if line is not None:
            print(line)
        if not config.resume and config.pretrain is None:
            report_data(trainer)
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
        report_run(trainer)
        print(f'\nThe run is in {config.out}')
