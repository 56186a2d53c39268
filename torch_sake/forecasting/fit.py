r"""A run: data, training, checkpoints, errors and pictures."""

import os.path as osp
from dataclasses import asdict, replace
from typing import Any

import pytorch_lightning
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch_geometric.data import InMemoryDataset
from tqdm import tqdm

from torch_sake.forecasting.config import DynamicsConfig
from torch_sake.forecasting.data import load_dynamics
from torch_sake.forecasting.evaluation import evaluate
from torch_sake.forecasting.forecaster import Forecaster, load_forecaster
from torch_sake.forecasting.module import (
    MAX_GRAD_NORM,
    DynamicsData,
    DynamicsModule,
)
from torch_sake.forecasting.plots import plot_learning_curve, plot_trajectories
from torch_sake.potentials.description import check_kind
from torch_sake.runs.checkpoint_io import SafetensorsIO
from torch_sake.runs.lightning import quiet
from torch_sake.utils.checks import check_same_data, check_same_settings
from torch_sake.utils.device import choose_device
from torch_sake.utils.entries import check_entry, errors_name
from torch_sake.utils.files import (
    check_folder,
    remove_incomplete,
    write_json,
    write_rows,
    write_settings,
)
from torch_sake.utils.fingerprint import fingerprint
from torch_sake.utils.global_state import own_global_state
from torch_sake.utils.inputs import BEST, LAST
from torch_sake.utils.locks import hold_folder

FREE = {'out', 'resume', 'root', 'device', 'num_rollout'}


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
        KeyboardInterrupt: After an interruption; the run can go on from its
            last epoch.
    """
    _check_out(config)
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
        _check_out(config)  # who had it may have run in the meantime
        return _run(config, train, val, tests)


def _check_out(config: DynamicsConfig) -> None:
    if osp.exists(osp.join(config.out, LAST)) != config.resume:
        raise ValueError(
            f"'out' must be the folder of a run with 'resume', and a folder "
            f"without one otherwise (got {config.out!r} with "
            f"resume={config.resume})")
    if config.resume and not osp.exists(osp.join(config.out, BEST)):
        raise ValueError(f"'resume' needs a run in 'out', which has no "
                         f"'{BEST}' (got {config.out!r})")


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
        checkpoint = SafetensorsIO().load_checkpoint(last)
        with errors_name(last):
            take_over(module, checkpoint)
    if module.epoch < config.num_epochs:
        write_settings(osp.join(config.out, 'config.yaml'),
                       asdict(replace(config, resume=False)))
        _fit(module, DynamicsData(config, train, val),
             last if config.resume else None)

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


def take_over(module: DynamicsModule, checkpoint: dict[str, Any]) -> None:
    r"""Has a module go on from a checkpoint.

    Raises:
        TypeError, ValueError: If it is none of this run.
    """
    config = module.config
    check_kind(checkpoint, 'dynamics')
    check_entry('config', checkpoint.get('config'), dict[str, Any])
    check_same_settings(asdict(config), checkpoint['config'], FREE)
    check_same_data(module.fingerprint, checkpoint.get('fingerprint'),
                    config.data)
    module.check_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)


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
    if not bool((dist > 0).any()):
        raise ValueError(f"The training systems must have edges between nodes "
                         f"apart (got {dist.numel()} edges)")
    if config.cutoff is not None and not bool((dist < config.cutoff).any()):
        raise ValueError(f"'cutoff' must be larger than the shortest edge of "
                         f"the training systems, {float(dist.min()):.4g} "
                         f"(got {config.cutoff})")
    return Forecaster(
        config.model, 0 if data.x is None else data.x.size(1),
        0 if data.edge_attr is None else data.edge_attr.size(1),
        data.pos.size(1), train.time,
        float(dist.square().mean().sqrt()), config.hidden_channels,
        config.num_layers, config.conv, config.cutoff,
        source.numel() / data.pos.size(0), config.velocity_weight > 0)


class RunFiles(Checkpoint):
    r"""Writes checkpoints and :obj:`metrics.csv` after every epoch, and shows
    how far the run is.
    """
    def __init__(self, module: DynamicsModule):
        self.progress = tqdm(total=module.config.num_epochs,
                             initial=module.epoch, unit='epoch',
                             desc='training', dynamic_ncols=True)

    def on_train_epoch_end(self, trainer: pytorch_lightning.Trainer,
                           module: DynamicsModule) -> None:
        module.close_epoch()  # its own hook comes after those of callbacks
        out, last = module.config.out, module.history[-1]
        check_folder(out)
        write_rows(osp.join(out, 'metrics.csv'), module.history)
        if last['val_mse'] == module.best:
            SafetensorsIO().save_checkpoint(module.kept(),
                                            osp.join(out, BEST))
        trainer.save_checkpoint(osp.join(out, LAST))
        self.progress.update()
        self.progress.set_postfix(val_mse=f"{last['val_mse']:.5g}")

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        self.progress.close()


def _fit(module: DynamicsModule, data: DynamicsData,
         last: str | None) -> None:
    r"""Trains up to the last epoch, from the checkpoint :obj:`last` on."""
    config = module.config
    with quiet():
        trainer = pytorch_lightning.Trainer(
            accelerator={'cuda': 'gpu'}.get(config.device, config.device),
            devices=1, plugins=[SafetensorsIO()], logger=False,
            max_epochs=config.num_epochs - module.epoch,
            enable_model_summary=False, num_sanity_val_steps=0,
            gradient_clip_val=MAX_GRAD_NORM,
            reload_dataloaders_every_n_epochs=1,
            enable_progress_bar=False, callbacks=[RunFiles(module)])
        try:
            trainer.fit(module, data, ckpt_path=last)
        except SystemExit as error:  # an interruption, in Lightning's words
            raise KeyboardInterrupt from error
