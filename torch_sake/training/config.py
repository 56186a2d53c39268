from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.training.parts_config import PartsConfig
from torch_sake.training.pretrain_config import PretrainConfig
from torch_sake.training.references_config import ReferencesConfig
from torch_sake.utils.durations import Duration, seconds_of_run
from torch_sake.utils.hints import (
    Count,
    Cutoff,
    Fraction,
    NotNegative,
    Path,
    PositiveFloat,
    PositiveInt,
    Seed,
    Sources,
    check_settings,
)
from torch_sake.utils.names import is_import_path
from torch_sake.utils.paths import first_name
from torch_sake.utils.plain_checks import require

if TYPE_CHECKING:
    from torch_sake.training.batching import BatchLimit

NUM_STEPS = 5000
# Steps, or seconds, from which on compilation is worth its time:
COMPILED_STEPS, COMPILED_SECONDS = 3000, 180
MODEL_ARGUMENTS = ('hidden_channels', 'num_layers', 'heads',
                   'num_coefficients', 'num_rbf', 'update_pos', 'embed_charge',
                   'cutoff')
MODELS = ('SAKE', 'VectorSAKE')  # by name


def check_model(name: str, value: str) -> str:
    r"""Checks the name of a model. Nothing is imported."""
    require(value in MODELS or is_import_path(value),
            f"'{name}' must be one of {list(MODELS)} or an import path such "
            f"as 'my_package.my_module:MyModel' (got {value!r})")
    return value


Model = Annotated[str, check_model]


@dataclass
class TrainConfig(PretrainConfig, PartsConfig, ReferencesConfig, LabelConfig):
    r"""What a training run is made of. A seed fixes the run.

    Args:
        data: 'xtb:NAME' (a molecule, labeled by GFN2-xTB), 'md17:NAME',
            'rmd17:NAME' or 'md22:NAME' (a trajectory, below 'root'),
            'qm9:TARGET' (a target of QM9, below 'root'), 'iso17' (below
            'root'), a file that ASE reads, an npz file with the arrays of MD17
            or a file of 'torch-sake convert'; or a list of several.
        root: Folder of the files of a data set, or of the generated ones.
        num_frames: Number of frames that are generated for 'xtb:NAME'; 2000 if
            not given.
        drop_outliers: Whether frames are left out of the split whose labels
            are likely wrong: those that lines at the start name so. Data sets
            with a name have none.
        out: Folder of the run; 'runs/' and the name of the data if not given.
        resume: Go on with the run in the folder 'out'.
        init: Checkpoint, folder of a run, or 'pretrained:NAME', whose
            potential the run starts from. The settings of the model are those
            of that potential.
        freeze: Number of first layers of the potential of 'init' that keep
            their weights, as the embeddings of its elements then do; 0 for
            the embeddings alone. All weights learn if not given.
        refit: Whether the atomic energies of the potential of 'init' are
            shifted to fit the training frames, for data of another level of
            theory or composition. Those of new elements always are.
        model: The model: 'VectorSAKE', the published 'SAKE', or one of your
            own by its import path, 'my_package.my_module:MyModel'.
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
        embed_charge: Whether the total charge and the multiplicity of each
            frame ('charge' or 'total_charge', 'spin' or 'multiplicity' in its
            file; 0 and 1 if not given) become part of what the model is given,
            for data of several.
        num_steps: Number of training steps; 5000 if neither it nor 'max_time'
            is given. A run that goes on with 'resume' can have more or fewer
            than before, and has as many if not given. The learning rate is
            then that of a run of the new length at the same step, without
            another warmup.
        max_time: How long to train, HH:MM:SS or DD:HH:MM:SS, in place of
            'num_steps': the learning rate comes to its end when the time is
            over. Validations and compilation count, as does the time before
            'resume', but not the report at the end; with 'pretrain', half of
            it is for that. A run can go on with another time, as with another
            number of steps.
        batch_size: Number of frames of a step, on all devices together.
        max_num_atoms: Largest number of atoms of the frames of a step, of
            which there are as many as fit, in place of 'batch_size'.
        max_num_edges: The same with the number of edges, which are two for
            each pair of atoms that are closer than 'cutoff'.
        optimizer: 'muon' (Muon for matrices, Adam for all else)
            or 'adam'.
        learning_rate: Largest learning rate; 3e-3 if not given, and 3e-4 after
            'pretrain'.
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
            Biersack and Littmark is added to what is learned, below 0.7 of
            the sum of covalent radii, where no bond is. If not given,
            potentials that are trained anew have it, with models of this
            package; those of 'init' keep what they have.
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
            steps, or three minutes, with models of this package are. Where
            this fails there is a warning.
    """
    data: Sources = 'xtb:ethanol'
    root: Path | None = None
    num_frames: PositiveInt | None = None
    drop_outliers: bool = False
    out: Path | None = None
    resume: bool = False
    init: Path | None = None
    freeze: Count | None = None
    refit: bool = False
    model: Model = 'VectorSAKE'
    hidden_channels: PositiveInt | None = None
    num_layers: PositiveInt | None = None
    heads: PositiveInt | None = None
    num_coefficients: PositiveInt | None = None
    num_rbf: PositiveInt | None = None
    cutoff: Cutoff | None = 5.0
    update_pos: bool | None = None
    embed_charge: bool = False
    num_steps: PositiveInt | None = None
    max_time: Duration | None = None
    batch_size: PositiveInt = 8
    max_num_atoms: PositiveInt | None = None
    max_num_edges: PositiveInt | None = None
    optimizer: Literal['adam', 'muon'] = 'muon'
    learning_rate: PositiveFloat | None = None
    warmup: Fraction = 0.02
    schedule: Literal['cosine', 'constant', 'plateau'] = 'cosine'
    loss: Literal['norm', 'l1', 'l2', 'huber'] = 'norm'
    energy_weight: NotNegative = 0.02
    energy_per_atom: bool = False
    stress_weight: NotNegative = 0.1
    zbl: bool | None = None
    ema_decay: Fraction = 0.99
    max_grad_norm: PositiveFloat = 10.0
    val_interval: PositiveInt = 200
    patience: PositiveInt | None = None
    seed: Seed = 0
    data_seed: Seed = 0
    deterministic: bool = False
    precision: Literal['float32', 'float64'] = 'float32'
    device: str = 'auto'
    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    num_workers: Count = 0
    tensorboard: bool = False
    compile: bool | None = None

    def __post_init__(self):
        check_settings(self)
        self.settle_parts()
        require(self.num_steps is None or self.max_time is None,
                f"'num_steps' must not be given beside 'max_time': one of "
                f"them must be null (got {self.num_steps} and "
                f"{self.max_time!r}; '--max_time null' or '--num_steps null' "
                f"takes back that of a configuration)")
        if self.num_steps is None and self.max_time is None and (
                not self.resume):  # else as many as the run has
            self.num_steps = NUM_STEPS
        if self.out is None:
            self.out = f'runs/{first_name(self.data)}'
        for name in ('heads', 'num_coefficients'):
            require(self.model != 'VectorSAKE' or getattr(self, name) is None,
                    f"'{name}' must not be given for {self.model} "
                    f"(got {getattr(self, name)})")
        self.settle_pretraining()
        self.check_references()
        require(self.init is None or self.model in MODELS,
                f"'init' must not be given for a model of your own, "
                f"{self.model!r} (got {self.init!r})")
        require(self.batch_size >= self.num_processes,
                f"'batch_size' must be at least the number of devices of all "
                f"nodes, {self.num_processes} (got {self.batch_size})")
        require(self.max_num_atoms is None or self.max_num_edges is None,
                f"'max_num_edges' must not be given beside 'max_num_atoms' "
                f"(got {self.max_num_edges} and {self.max_num_atoms})")
        require(':' not in self.device or self.num_processes == 1,
                f"'device' must not be a single one for {self.num_processes} "
                f"devices (got {self.device!r})")

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
        is the next one after :obj:`step` steps, unless the time is over
        before.
        """
        following = (step // self.val_interval + 1) * self.val_interval
        return min(following, self.num_steps or following)

    @property
    def compiles(self) -> bool:
        r"""Whether training steps are compiled."""
        if self.compile is None:
            return self.model in MODELS and (
                (self.num_steps or 0) >= COMPILED_STEPS or
                (self.seconds or 0) >= COMPILED_SECONDS)
        return self.compile

    @property
    def seconds(self) -> float | None:
        r"""The length of the run, if it is one of time, without that of the
        one before it.
        """
        return seconds_of_run(vars(self))

    @property
    def model_arguments(self) -> dict[str, Any]:
        r"""The arguments of the model, as far as they are given here."""
        given = {name: getattr(self, name) for name in MODEL_ARGUMENTS}
        if not self.embed_charge:
            del given['embed_charge']  # models of users need not know of it
        return {key: value for key, value in given.items()
                if value is not None or key == 'cutoff'}
