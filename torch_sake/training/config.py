from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.plain_checks import (
    check_positive_float,
    check_positive_int,
    check_seed,
)
from torch_sake.utils.settings import check_settings

if TYPE_CHECKING:
    from torch_sake.training.batching import BatchLimit

# Numbers of training and validation frames of a random split. Those of QM9
# are the same for all targets and all seeds of runs.
SPLIT_SIZES = {'qm9': (110_000, 10_000)}
DEFAULT_SIZES = (950, 50)
MODEL_ARGUMENTS = ('hidden_channels', 'num_layers', 'heads',
                   'num_coefficients', 'num_rbf', 'update_pos', 'cutoff')


@dataclass
class TrainConfig:
    r"""What a training run is made of. A seed fixes the run.

    Args:
        data: 'xtb:NAME' (a molecule, labeled by GFN2-xTB), 'md17:NAME',
            'rmd17:NAME' or 'md22:NAME' (a trajectory, below 'root'),
            'qm9:TARGET' (a target of QM9, below 'root'), 'iso17' (below
            'root'), a file that ASE reads, an npz file with the arrays of MD17
            or a file of 'torch-sake convert'.
        root: Folder of the files of a data set, or of the generated ones.
        num_frames: Number of frames that are generated for 'xtb:NAME'; 2000 if
            not given.
        split: An npz file with the frames 'train', 'val' and 'test', or the
            name of a split that the data are published with ('1' to '5' of
            'rmd17:NAME'; 'within' and 'other' of 'iso17'), in place of a
            random split.
        split_prefix: What these names start with in the file.
        num_train: Number of training frames of a random split; 950, or
            110,000 of QM9, if not given.
        num_val: Number of validation frames of a random split; 50, or 10,000
            of QM9, if not given.
        num_test: Number of test frames of a random split; all that are left
            if not given. Errors are reported on the validation frames if 0.
        out: Folder of the run; 'runs/' and the name of the data if not given.
        resume: Go on with the run in the folder 'out'.
        init: Checkpoint, or folder of a run, whose potential the run starts
            from. The settings of the model are those of that potential.
        freeze: Number of first layers of the potential of 'init' that keep
            their weights, as the embeddings of its elements then do; 0 for
            the embeddings alone. All weights learn if not given.
        refit: Whether the atomic energies of the potential of 'init' are
            shifted to fit the training frames, for data of another level of
            theory or composition. Those of new elements always are.
        model: The model, 'VectorSAKE' or the published 'SAKE'.
        hidden_channels: Size of the hidden features; the model's default if
            not given, as for the other arguments of the model.
        num_layers: Number of layers.
        heads: Number of attention heads of 'SAKE'.
        num_coefficients: Number of combinations of 'SAKE', 'heads' times
            'hidden_channels' if not given.
        num_rbf: Number of radial functions.
        cutoff: Distance from which on atoms do not see each other, in the
            unit of the positions; null for all pairs.
        update_pos: Whether layers move the atoms.
        num_steps: Number of training steps.
        batch_size: Number of frames of a step, on all devices together.
        max_num_atoms: Largest number of atoms of the frames of a step, of
            which there are as many as fit, in place of 'batch_size'.
        max_num_edges: The same with the number of edges, which are two for
            each pair of atoms that are closer than 'cutoff'.
        optimizer: 'muon' (Muon for matrices, Adam for all else)
            or 'adam'.
        learning_rate: Largest learning rate.
        warmup: Share of the steps in which the rate rises from zero.
        schedule: What the rate does then: 'cosine' falls along a cosine to
            zero at the last step, 'constant' stays, 'plateau' is halved
            whenever ten validations in a row bring no better score.
        loss: Penalty of errors: 'norm' is the mean length (of the error of a
            force; the absolute error of an energy), 'l1' the mean absolute
            error of components, 'l2' the mean square, 'huber' the Huber loss
            with a threshold of a tenth of the root mean square force.
        energy_weight: Weight of the energies in the loss; forces have weight
            1. Without forces, the energies have weight 1, whatever is given.
        energy_per_atom: Whether errors of energies in the loss are divided by
            the number of atoms, for data of molecules of different sizes.
        stress_weight: Weight of the stresses, where they are known, times the
            mean volume of an atom: of virials per atom.
        zbl: Whether the repulsion of nuclei at short distances after Ziegler,
            Biersack and Littmark is added to what is learned.
        ema_decay: Decay of the moving average of the weights, which is what is
            validated and kept; 0 for none.
        max_grad_norm: Largest norm of the gradient; larger ones are scaled.
        val_interval: Number of steps from one validation to the next.
        patience: Number of validations in a row without a better score after
            which a run ends early; it never does if not given.
        seed: Seed of the split, the weights and the order of the frames. That
            of the split of QM9 is always 0.
        data_seed: Seed of frames that are generated.
        deterministic: Whether operations that are not deterministic are
            refused or replaced, of which there are some on GPUs.
        precision: Type of all numbers but the energies, which are always
            float64.
        device: Where to train; 'auto' takes a GPU if there is one.
        devices: Number of devices of this kind, of each node: of processes
            that share the frames of a step.
        num_nodes: Number of nodes.
        num_workers: Number of processes, for each device, that make batches.
            Frames in memory need none.
        tensorboard: Whether TensorBoard gets the validations, too, in the
            folder 'tensorboard' of the run.
        compile: Whether training steps are compiled, which takes a good part
            of a minute at the beginning. If not given, runs of at least 3000
            steps with models of this package are. Where this fails there is a
            warning.
    """
    data: str = 'xtb:ethanol'
    root: str | None = None
    num_frames: int | None = None
    split: str | None = None
    split_prefix: str = ''
    num_train: int | None = None
    num_val: int | None = None
    num_test: int | None = None
    out: str | None = None
    resume: bool = False
    init: str | None = None
    freeze: int | None = None
    refit: bool = False
    model: Literal['SAKE', 'VectorSAKE'] = 'VectorSAKE'
    hidden_channels: int | None = None
    num_layers: int | None = None
    heads: int | None = None
    num_coefficients: int | None = None
    num_rbf: int | None = None
    cutoff: float | None = 5.0
    update_pos: bool | None = None
    num_steps: int = 5000
    batch_size: int = 8
    max_num_atoms: int | None = None
    max_num_edges: int | None = None
    optimizer: Literal['adam', 'muon'] = 'muon'
    learning_rate: float = 3e-3
    warmup: float = 0.02
    schedule: Literal['cosine', 'constant', 'plateau'] = 'cosine'
    loss: Literal['norm', 'l1', 'l2', 'huber'] = 'norm'
    energy_weight: float = 0.02
    energy_per_atom: bool = False
    stress_weight: float = 0.1
    zbl: bool = False
    ema_decay: float = 0.99
    max_grad_norm: float = 10.0
    val_interval: int = 200
    patience: int | None = None
    seed: int = 0
    data_seed: int = 0
    deterministic: bool = False
    precision: Literal['float32', 'float64'] = 'float32'
    device: str = 'auto'
    devices: int = 1
    num_nodes: int = 1
    num_workers: int = 0
    tensorboard: bool = False
    compile: bool | None = None

    def __post_init__(self):
        check_settings(self, ('root', 'split', 'out', 'init'))
        kind = self.data.partition(':')[0]
        for name, default in zip(('num_train', 'num_val'),
                                 SPLIT_SIZES.get(kind, DEFAULT_SIZES)):
            if getattr(self, name) is None:
                setattr(self, name, default)
        for name in ('num_train', 'num_val', 'num_steps', 'batch_size',
                     'val_interval', 'devices', 'num_nodes'):
            check_positive_int(name, getattr(self, name))
        for name in ('hidden_channels', 'num_layers', 'heads',
                     'num_coefficients', 'num_rbf', 'patience',
                     'max_num_atoms', 'max_num_edges'):
            if getattr(self, name) is not None:
                check_positive_int(name, getattr(self, name))
        for name in ('seed', 'data_seed'):
            check_seed(name, getattr(self, name))
        for name in ('heads', 'num_coefficients'):
            if getattr(self, name) is not None and self.model != 'SAKE':
                raise ValueError(f"'{name}' must not be given for "
                                 f"{self.model} (got {getattr(self, name)})")
        for name in ('learning_rate', 'max_grad_norm'):
            check_positive_float(name, getattr(self, name))
        if self.cutoff is not None:
            check_cutoff('cutoff', self.cutoff)
        for name in ('warmup', 'ema_decay'):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"'{name}' must be at least 0 and below 1 "
                                 f"(got {getattr(self, name)})")
        for name in ('energy_weight', 'stress_weight', 'num_workers'):
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(f"'{name}' must not be negative "
                                 f"(got {getattr(self, name)})")
        if self.freeze is not None and not self.freeze >= 0:
            raise ValueError(f"'freeze' must not be negative "
                             f"(got {self.freeze})")
        if self.init is None and (self.freeze is not None or self.refit):
            raise ValueError(f"'freeze' and 'refit' need 'init' "
                             f"(got {self.freeze} and {self.refit})")
        if self.split_prefix and self.split is None:
            raise ValueError(f"'split_prefix' needs 'split', the file that it "
                             f"is about (got {self.split_prefix!r})")
        if self.batch_size < self.num_processes:
            raise ValueError(f"'batch_size' must be at least the number of "
                             f"devices of all nodes, {self.num_processes} "
                             f"(got {self.batch_size})")
        if self.max_num_atoms is not None and self.max_num_edges is not None:
            raise ValueError(f"'max_num_edges' must not be given beside "
                             f"'max_num_atoms' (got {self.max_num_edges} and "
                             f"{self.max_num_atoms})")
        if ':' in self.device and self.num_processes > 1:
            raise ValueError(f"'device' must not be a single one for "
                             f"{self.num_processes} devices "
                             f"(got {self.device!r})")
        if self.out is None:
            name = self.data.replace(':', '-').replace('/', '-')
            self.out = f'runs/{name}'

    @property
    def num_processes(self) -> int:
        r"""The number of devices of all nodes."""
        return self.devices * self.num_nodes

    @property
    def batch_limit(self) -> 'BatchLimit':
        r"""How large the batch of a step may be."""
        from torch_sake.training.batching import BatchLimit
        if self.max_num_atoms is not None:
            return BatchLimit(self.max_num_atoms, 'atoms')
        if self.max_num_edges is not None:
            return BatchLimit(self.max_num_edges, 'edges', self.cutoff)
        return BatchLimit(self.batch_size)

    @property
    def eval_limit(self) -> 'BatchLimit':
        r"""How large a batch of one process may be in an evaluation."""
        from torch_sake.training.batching import EVAL_BATCH_SIZE, BatchLimit
        limit = self.batch_limit
        if limit.unit == 'frames':
            return BatchLimit(EVAL_BATCH_SIZE)
        return replace(limit, number=limit.number // self.num_processes)

    def next_validation(self, step: int) -> int:
        r"""Returns the number of steps after which the validation follows that
        is the next one after :obj:`step` steps.
        """
        following = (step // self.val_interval + 1) * self.val_interval
        return min(following, self.num_steps)

    @property
    def compiles(self) -> bool:
        r"""Whether training steps are compiled."""
        if self.compile is None:
            return self.num_steps >= 3000
        return self.compile

    @property
    def model_arguments(self) -> dict[str, Any]:
        r"""The arguments of the model, as far as they are given here."""
        given = {name: getattr(self, name) for name in MODEL_ARGUMENTS}
        return {key: value for key, value in given.items()
                if value is not None or key == 'cutoff'}
