r"""Pictures, written completely or not at all."""

from typing import Any

from torch_sake.utils.files import replace_when_complete
from torch_sake.utils.paths import PathLike


def new_figure(num_axes: int) -> tuple[Any, Any]:
    r"""Returns a figure and its axes, side by side.

    Raises:
        ImportError: If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need 'matplotlib': "
                          "pip install 'torch-sake[train]'") from error
    figure = Figure(figsize=(5 * num_axes, 4.5), layout='constrained')
    return figure, figure.subplots(1, num_axes, squeeze=False)[0]


def save_figure(figure: Any, path: PathLike) -> None:
    r"""Writes a figure."""
    with replace_when_complete(path) as temporary:
        figure.savefig(temporary, dpi=150)
