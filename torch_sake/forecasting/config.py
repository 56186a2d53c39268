import os.path as osp
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch_sake.utils.hints import (
    Cutoff,
    Data,
    Fraction,
    NotNegative,
    Path,
    PositiveFloat,
    PositiveInt,
    Seed,
    check_settings,
)
from torch_sake.utils.plain_checks import require

Model = Literal['SAKENet', 'EGNN', 'GNN', 'RadialField', 'Linear']
MODELS = get_args(Model)
NUM_EPOCHS = 60


@dataclass
class DynamicsConfig:
    r"""What a run that learns to forecast positions is made of. A seed fixes
    the run.

    Args:
        data: 'nbody' (charged particles), 'cmu-walk' (a walking person, whose
            files are below 'root'), 'md17:NAME' (a trajectory of MD17, below
            'root') or an npz file with trajectories of your own.
        root: Folder of the data.
        horizon: Number of frames from input to target; those of the published
            settings if not given (10 of 'nbody', 30 of the others).
        sizes: Numbers of systems for training, validation and testing, but
            for 'cmu-walk'; those of the data set, and all of a file, if not
            given.
        out: Folder of the run; 'runs/', the name of the data and the model if
            not given.
        resume: Go on with the run in the folder 'out'.
        model: 'SAKENet', 'EGNN', or a simple baseline: 'GNN', 'RadialField'
            or 'Linear'.
        conv: The kind of layer of 'SAKENet', 'sake' or 'vector'.
        hidden_channels: Size of the hidden features.
        num_layers: Number of layers.
        cutoff: Distance from which on nodes do not see each other, of
            'SAKENet', in the unit of the positions; null for all edges.
        num_epochs: Number of passes through the training systems; 60 if not
            given. A run that goes on with 'resume' can have more or fewer than
            before, and has as many if not given. The learning rate is then
            that of a run of the new length at the same step, without another
            warmup.
        batch_size: Number of systems of a step.
        learning_rate: Largest learning rate. It rises in the first hundredth
            of the steps, then falls along a cosine.
        weight_decay: Decay of the weights, apart from the gradient (AdamW).
        ema_decay: Decay of the moving average of the weights, which is what is
            validated and kept; 0 for none.
        velocity_weight: Weight of the velocities in the loss. If it is 0,
            predicted velocities are differences of positions, divided by the
            time; else they are those of the last layer.
        time_reversal: Whether every second step takes its systems backward in
            time, from the target with velocities turned round to the input,
            of which the laws of 'nbody' and 'md17:NAME' know no difference.
            If not given, those of 'nbody' are.
        num_rollout: Number of horizons up to which predictions are fed back at
            the end.
        seed: Seed of the weights and the order of the systems.
        device: Where to train; 'auto' takes a GPU if there is one.
    """
    data: Data = 'nbody'
    root: Path = 'data'
    horizon: int | None = None
    sizes: tuple[int, int, int] | None = None
    out: Path | None = None
    resume: bool = False
    model: Model = 'SAKENet'
    conv: Literal['sake', 'vector'] = 'vector'
    hidden_channels: PositiveInt = 48
    num_layers: PositiveInt = 6
    cutoff: Cutoff | None = None
    num_epochs: PositiveInt | None = None
    batch_size: PositiveInt = 100
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NotNegative = 0.1
    ema_decay: Fraction = 0.99
    velocity_weight: NotNegative = 0.0
    time_reversal: bool | None = None
    num_rollout: PositiveInt = 3
    seed: Seed = 0
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'

    def __post_init__(self):
        check_settings(self)
        for name, default in (('cutoff', None), ('conv', 'vector')):
            require(self.model == 'SAKENet' or getattr(self, name) == default,
                    f"'{name}' must not be given for {self.model} "
                    f"(got {getattr(self, name)})")
        require(self.data != 'cmu-walk' or self.sizes is None,
                f"'sizes' must not be given for 'cmu-walk' "
                f"(got {self.sizes})")
        require(self.data != 'cmu-walk' or not self.time_reversal,
                "'time_reversal' must not be set for 'cmu-walk': people do "
                "not walk backward like that")
        if self.num_epochs is None and not self.resume:
            self.num_epochs = NUM_EPOCHS  # else as many as the run has
        if self.time_reversal is None:
            self.time_reversal = self.data == 'nbody'
        if self.out is None:
            name = self.data.replace(':', '-').replace('/', '-')
            if self.data.endswith('.npz'):
                name = osp.splitext(osp.basename(self.data))[0]
            self.out = f'runs/{name}-{self.model}'

    @property
    def data_arguments(self) -> dict[str, Any]:
        r"""What the data follow from."""
        return {name: getattr(self, name)
                for name in ('data', 'root', 'horizon', 'sizes')}
