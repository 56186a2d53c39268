import os.path as osp
from dataclasses import asdict, replace

from torch_sake.checkpoint import BEST, LAST, load_potential
from torch_sake.files import replace_when_complete
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.metrics import predict
from torch_sake.training.plots import plot_learning_curve
from torch_sake.training.report import report_errors
from torch_sake.training.trainer import EVAL_BATCH_SIZE


def train(config: TrainConfig) -> None:
    r"""Trains a potential and reports its errors on the test frames."""
    import yaml

    trainer = Trainer(config)
    data = trainer.data
    with replace_when_complete(osp.join(config.out, 'config.yaml')) as path:
        with open(path, 'w') as file:
            yaml.safe_dump(asdict(replace(config, resume=False)), file,
                           sort_keys=False)
    sizes = {name: part.numel() for name, part in vars(data.split).items()}
    parameters = sum(p.numel() for p in trainer.potential.parameters())
    labels = ' and '.join(
        ['energies', *(['forces'] if data.frames.has_forces else []),
         *(['stresses'] if data.frames.has_stress else [])])
    print(f'{data.frames.source}: {sizes} frames with {labels}, '
          f'{parameters} parameters, on {trainer.device}')
    try:
        trainer.fit()
    except KeyboardInterrupt:
        print(f"\nStopped at step {trainer.step}; '{BEST}' in {config.out} "
              f"can be used, '--resume' goes on from '{LAST}'.")
        raise
    units = data.frames.units
    plot_learning_curve(trainer.history, units, config.out)
    part = 'test' if sizes['test'] > 0 else 'val'
    outputs = predict(
        load_potential(config.out).to(trainer.device),
        data.batches(part, EVAL_BATCH_SIZE), trainer.dtype, trainer.device)
    report_errors(outputs, data.trivial_energies(part), units, config.out,
                  part, f'\nErrors on the {part} frames ({sizes[part]}; '
                  f'{trainer.seconds:.0f} s of processor time for training)')
    print(f'\nThe run is in {config.out}')
