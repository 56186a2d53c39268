r"""A run: data, training, checkpoints, errors and pictures."""

import os.path as osp
from typing import Any

import torch
from torch_geometric.data import InMemoryDataset

from torch_sake.forecasting.config import DynamicsConfig
from torch_sake.forecasting.data import load_dynamics
from torch_sake.forecasting.evaluation import evaluate
from torch_sake.forecasting.forecaster import Forecaster, load_forecaster
from torch_sake.forecasting.module import DynamicsData, DynamicsModule
from torch_sake.forecasting.plots import plot_learning_curve, plot_trajectories
from torch_sake.runs.callbacks import check_out
from torch_sake.runs.length import keep_length
from torch_sake.runs.lightning import run
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import remove_incomplete, write_json
from torch_sake.utils.fingerprint import fingerprint
from torch_sake.utils.global_state import own_global_state
from torch_sake.utils.inputs import LAST
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.plain_checks import require


@own_global_state()
def run_dynamics(config: DynamicsConfig) -> dict[str, Any]:
    r"""Trains a forecaster, keeps the best by validation, and measures it.

    The folder :obj:`config.out` gets the checkpoint of the best validation,
    :obj:`best.safetensors`, the checkpoint to go on from,
    :obj:`last.safetensors`, the validations, :obj:`metrics.csv`, the settings,
    :obj:`config.yaml`, the errors on the test systems, :obj:`test.json`, and
    the pictures :obj:`learning_curve.png` and :obj:`trajectories.png`.

    Args:
        config (DynamicsConfig): What the run is made of.

    Returns:
        The content of :obj:`test.json`.

    Raises:
        ValueError: If the folder holds a run already and :obj:`config.resume`
            is not set, or is set and the run there has other settings or data,
            if another process writes to it, or if trajectories are too short.
        KeyboardInterrupt: After an interruption, at the end of the step it
            came in, with everything saved that the run needs to go on.
    """
    check_out(config.out, config.resume)
    config = keep_length(config, ('num_epochs', ))
    if osp.isdir(config.out):
        with hold_folder(config.out):  # not only after all that follows
            pass
    choose_device(config.device)  # or an error that says that there is none
    train, val = (load_dynamics(**config.data_arguments, split=split)
                  for split in ('train', 'val'))
    # Before training, as trajectories may be too short for them:
    tests = [_load_test(config, number)
             for number in range(1, config.num_rollout + 1)]
    with hold_folder(config.out):
        # Who had it may have run in the meantime.
        check_out(config.out, config.resume)
        return _run(config, train, val, tests)


def _run(config: DynamicsConfig, train: InMemoryDataset, val: InMemoryDataset,
         tests: list[InMemoryDataset]) -> dict[str, Any]:
    last = osp.join(config.out, LAST)
    remove_incomplete(config.out)
    torch.manual_seed(config.seed)
    module = DynamicsModule(
        config, build(config, train), max(len(train) // config.batch_size, 1),
        fingerprint([{'time': torch.tensor(train.time)},
                     train._data.to_dict(), val._data.to_dict()]))
    if config.resume:
        module.restore(last)
    if not module.finished:
        run(module, DynamicsData(config, train, val),
            choose_device(config.device), last if config.resume else None,
            reload_dataloaders_every_n_epochs=1)

    forecaster = load_forecaster(config.out)
    result, rollout = evaluate(forecaster, train, tests)
    result = dict(result, val_mse=module.best, seconds=module.seconds,
                  parameters=sum(parameter.numel() for parameter in
                                 forecaster.parameters()))
    write_json(osp.join(config.out, 'test.json'), result)
    plot_learning_curve(module.history,
                        osp.join(config.out, 'learning_curve.png'))
    plot_trajectories(tests, rollout, osp.join(config.out,
                                               'trajectories.png'))
    return result


def _load_test(config: DynamicsConfig, num_horizons: int) -> InMemoryDataset:
    try:
        return load_dynamics(**config.data_arguments, split='test',
                             num_horizons=num_horizons)
    except ValueError as error:
        if num_horizons == 1:
            raise
        # With one horizon it went well:
        raise ValueError(f"'num_rollout' must be at most {num_horizons - 1} "
                         f"for these data (got {config.num_rollout}): {error}"
                         ) from error


def build(config: DynamicsConfig, train: InMemoryDataset) -> Forecaster:
    r"""Returns a new forecaster for training data. Its length is the root
    mean square of those of the edges.
    """
    data = train._data
    source, target = data.edge_index
    # Edges count the nodes of their own system.
    first = train.slices['pos'][:-1].repeat_interleave(
        train.slices['edge_index'].diff())
    vec = data.pos[first + source] - data.pos[first + target]
    dist = vec.norm(dim=1)
    require((dist > 0).any(), f"The training systems must have edges between "
                              f"nodes apart (got {dist.numel()} edges)")
    require(config.cutoff is None or (dist < config.cutoff).any(),
            f"'cutoff' must be larger than the shortest edge of the training "
            f"systems, {float(dist.min()):.4g} (got {config.cutoff})")
    return Forecaster(
        config.model, 0 if data.x is None else data.x.size(1),
        0 if data.edge_attr is None else data.edge_attr.size(1),
        data.pos.size(1), train.time,
        float(dist.square().mean().sqrt()), config.hidden_channels,
        config.num_layers, config.conv, config.cutoff,
        source.numel() / data.pos.size(0), config.velocity_weight > 0)
