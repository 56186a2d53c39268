import os.path as osp

from torch_sake.forecasting import DynamicsConfig
from torch_sake.utils.inputs import LAST


def dynamics(config: DynamicsConfig) -> None:
    r"""Trains a model to forecast positions and reports its errors."""
    try:
        from torch_sake.forecasting.fit import run_dynamics
    except ImportError as error:
        raise ImportError(f"Training needs '{error.name}': "
                          f"pip install 'torch-sake[train]'") from error
    try:
        result = run_dynamics(config)
    except KeyboardInterrupt:
        if osp.exists(osp.join(config.out, LAST)):
            print(f"\nStopped; '--resume' goes on with the run in "
                  f"{config.out}.")
        raise
    print(f"\nMean squared errors of a coordinate on the test systems "
          f"({config.model}, {result['parameters']} parameters, "
          f"{result['seconds']:.0f} s of processor time for training)")
    rows = result['rollout']
    for title in rows[0]:
        print(f'{title:<20}' + ''.join(
            f'{row[title]:>12.5g}' for row in rows))
    print(f'\nThe run is in {config.out}')
