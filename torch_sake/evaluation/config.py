from dataclasses import dataclass
from typing import Literal

from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.utils.hints import (
    ModelPath,
    Path,
    Paths,
    PositiveInt,
    Seed,
    Sources,
    check_settings,
)
from torch_sake.utils.plain_checks import require

EVAL_BATCH_SIZE = 64  # frames
# Of files that keep arrays and numbers of any name:
ENDINGS = ('.extxyz', '.xyz')


@dataclass
class EvaluateConfig(LabelConfig):
    r"""What to measure.

    Args:
        checkpoint: Folder of a training run, one of its checkpoints, or
            'pretrained:NAME'; or several, whose mean is measured, on other
            data.
        data: The data, as for 'train'. A checkpoint does not say where to
            find them.
        root: Folder of the data, as for 'train'.
        num_frames: Number of frames that are generated, as for 'train'.
        data_seed: Seed of frames that are generated, as for 'train'.
        part: 'test' takes the test frames of the run, if the data are its
            own, 'all' takes all frames. If not given, it is 'test' for the
            run's own data, 'all' for others.
        split: A split that the data are published with, whose test frames are
            taken, such as 'other' of 'iso17'.
        out: Folder of 'evaluation.json' and the pictures; 'evaluation' beside
            the checkpoint if not given, 'ensemble' beside the first of
            several.
        predictions: An extended XYZ file to write, which must not exist, of
            the frames with their labels and what is predicted of them:
            'SAKE_energy', 'SAKE_forces', 'SAKE_stress' and, for several
            checkpoints or one that has uncertainties, 'SAKE_energy_std' and
            'SAKE_forces_std', in the units of the data. The frames need no
            labels then.
        group_by: An entry of the info of the frames, such as 'config_type',
            by which errors are reported in groups.
        seed: Seed of the bootstrap of the confidence intervals.
        device: Where to compute; 'auto' takes a GPU if there is one.
        model: Import path of the class of the model, for a checkpoint with one
            of your own, such as 'my_package.my_module:MyModel'.
    """
    checkpoint: Paths
    data: Sources | None = None
    root: Path | None = None
    num_frames: PositiveInt | None = None
    data_seed: Seed | None = None
    part: Literal['test', 'all'] | None = None
    split: Path | None = None
    out: Path | None = None
    predictions: Path | None = None
    group_by: str | None = None
    seed: Seed = 0
    device: str = 'auto'
    model: ModelPath | None = None

    def __post_init__(self):
        check_settings(self)
        require(self.predictions is None
                or self.predictions.endswith(ENDINGS),
                f"'predictions' must end with one of {list(ENDINGS)}, which "
                f"keep arrays of any name (got {self.predictions!r})")
        require(len(self.checkpoint) == 1 or not (
            self.data is None or self.split or self.part == 'test'),
                f"'data' must be given, without 'split' or 'part=test', for "
                f"several checkpoints, which have test frames of their own "
                f"(got {self.data!r})")
