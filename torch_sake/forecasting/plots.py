import torch
from torch_geometric.data import InMemoryDataset

from torch_sake.datasets import CMUMotion
from torch_sake.forecasting.evaluation import Rollout
from torch_sake.utils.figures import new_figure, save_figure
from torch_sake.utils.paths import PathLike

NUM_PANELS = 4


def plot_learning_curve(history: list[dict[str, float]],
                        path: PathLike) -> None:
    r"""Draws the loss and the validation error of each epoch."""
    figure, (axis, ) = new_figure(1)
    for key, label in (('loss', 'loss, in units of the length of an edge'),
                       ('val_mse', 'validation, mean squared error')):
        axis.plot([row['epoch'] for row in history],
                  [row[key] for row in history], label=label)
    axis.set(xlabel='epoch', yscale='log')
    axis.grid(True, which='both', alpha=0.3)
    axis.legend()
    save_figure(figure, path)


def plot_trajectories(tests: list[InMemoryDataset], rollout: Rollout,
                      path: PathLike) -> None:
    r"""Draws the true and the predicted ways of some systems, in the plane of
    the first two dimensions or, for people, from the side.

    Args:
        tests (list): Test data with targets after one horizon, two, and so on.
        rollout (Rollout): Predictions for the last of them.
        path (str or os.PathLike): The file.
    """
    last = tests[-1]
    plane = [2, 1] if isinstance(last, CMUMotion) else [0, 1]
    # The way there is known if these data are of the same systems.
    true = torch.stack([last._data.pos] + [
        test._data.y for test in tests
        if torch.equal(test._data.pos, last._data.pos)])
    size = int(last.slices['pos'][1])
    figure, axes = new_figure(min(NUM_PANELS, len(last)))
    for panel, axis in enumerate(axes):
        system = panel * len(last) // len(axes)
        nodes = slice(system * size, (system + 1) * size)
        for states, label, color, style in (
                (true, 'true', 'C0', '-'),
                (rollout.way, 'predicted', 'C1', '--')):
            x, y = states[:, nodes, plane].unbind(2)  # [K, n]
            axis.plot(x, y, style, color=color, linewidth=1)
            axis.plot(x[-1], y[-1], '.', color=color, label=label)
        axis.plot(x[0], y[0], '.', color='gray', label='input')
        axis.set(title=f'system {system}', aspect='equal',
                 xlabel='xyz'[plane[0]], ylabel='xyz'[plane[1]])
    axes[0].legend()
    save_figure(figure, path)
