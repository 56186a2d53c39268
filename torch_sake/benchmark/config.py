from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

from torch_sake.utils.hints import Path, PositiveInt, check_settings
from torch_sake.utils.plain_checks import check_option

TASKS = ('inference', 'training', 'md')
Task = Annotated[str, partial(check_option, options=TASKS)]


@dataclass
class BenchmarkConfig:
    r"""What is measured. Models alternate, round by round, so that a
    disturbance meets all of them.

    Args:
        models: Names of models, those of this package with arguments, such as
            'SAKE,cutoff=null'; all that are installed if not given.
        compiled: Whether models of this package are measured compiled, too.
        tasks: What is done: 'inference' (energies and forces), 'training' (a
            step on both, with Adam) and 'md' (a step by ASE, of one graph).
        atoms: Sizes of molecules.
        batch_sizes: Numbers of molecules in a batch.
        boxes: Sizes of periodic boxes.
        rounds: Number of rounds.
        seconds: About how long each of them takes for each model and task.
        threads: Number of threads.
        precision: Type of the numbers.
        device: Where to compute; 'auto' takes a GPU if there is one.
        out: Folder of the results.
    """
    models: list[str] | None = None
    compiled: bool = True
    tasks: list[Task] = field(default_factory=lambda: list(TASKS))
    atoms: list[PositiveInt] = field(default_factory=lambda: [9, 21])
    batch_sizes: list[PositiveInt] = field(default_factory=lambda: [1, 8, 64])
    boxes: list[PositiveInt] = field(default_factory=lambda: [1000])
    rounds: PositiveInt = 5
    seconds: float = 0.3
    threads: PositiveInt = 1
    precision: Literal['float32', 'float64'] = 'float32'
    device: str = 'auto'
    out: Path = 'benchmark'

    def __post_init__(self):
        check_settings(self)
