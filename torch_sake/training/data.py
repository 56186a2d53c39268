import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.datasets import Split
from torch_sake.datasets.frames.charges import (
    Pairs,
    learned_states,
    with_states,
)
from torch_sake.datasets.frames.fingerprint import frames_fingerprint
from torch_sake.datasets.frames.labeled_frames import STRUCTURE
from torch_sake.datasets.frames.load import AnyFrames, load_config_frames
from torch_sake.inspection.look import look_at_own
from torch_sake.inspection.remark import (
    Remark,
    leave_out,
    outliers_of,
)
from torch_sake.models.readout import NUM_ELEMENTS
from torch_sake.training.batching import (
    EVAL_BATCH_SIZE,
    BatchLimit,
    count_edges,
)
from torch_sake.training.checks import check_labels, warn_of_shared_frames
from torch_sake.training.config import TrainConfig
from torch_sake.training.isolated import find_references, references_in
from torch_sake.training.label_statistics import (
    Summary,
    energies_per_atom,
    summarize,
)
from torch_sake.training.splits import split_frames
from torch_sake.training.weights import weigh_frames
from torch_sake.utils.elements import symbol_of, symbols_of
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import ENERGIES

# Somewhat more than atoms are bound by, in eV:
LARGEST_BOND = 10.0
# Of frames that say how many neighbors an atom has:
SAMPLE = 10000


def check_frames(frames: Any) -> AnyFrames:
    if not isinstance(frames, AnyFrames):
        raise TypeError(f"'frames' must be Frames or FramesOnDisk, or "
                        f"JoinedFrames of some (got {type(frames)})")
    return frames


@dataclass
class TrainingData(Summary):
    r"""The frames of a run, in memory or on disk, and their split, how large a
    batch of an evaluation may be, what each training frame adds to a batch,
    what tells the data from others, the names of the labels that training
    frames have, the charges and multiplicities that there are, if anything is
    said of them, of which elements the energies of isolated atoms are given,
    what is likely wrong with the data, how many frames were drawn before some
    of these were left out, and what a summary says of the training frames.
    """
    frames: AnyFrames
    split: Split
    eval_limit: BatchLimit
    sizes: Tensor
    fingerprint: str
    labels: list[str]
    states: Pairs
    remarks: list[Remark]
    drawn: dict[str, int]
    isolated_atoms: list[int] | None = None

    @classmethod
    def from_config(cls, config: TrainConfig,
                    frames: AnyFrames | None = None,
                    units: dict[str, str] | None = None) -> 'TrainingData':
        r"""Returns the data of a run, or the given frames in their place. If
        the settings say what units the data are in, they are converted to the
        given ones, or else to those of ASE.
        """
        is_said = (config.units, config.length_unit) != (None, None)
        frames = load_config_frames(asdict(config),
                                    units if is_said else None, frames)
        frames, states = with_states(frames, config.embed_charge)
        require(max(frames.elements) < NUM_ELEMENTS,
                f"The data must have atomic numbers below {NUM_ELEMENTS}, as "
                f"the models have (got {max(frames.elements)})")
        isolated = references_in(frames, config)
        split = split_frames(frames, config, None if isolated is None else
                             (~isolated).nonzero().flatten())
        drawn = {name: len(part) for name, part in vars(split).items()}
        remarks = look_at_own(frames, config.cutoff)
        if config.drop_outliers:
            split = leave_out(split, outliers_of(remarks))
            require(min(split.train.numel(), split.val.numel())
                    >= config.num_processes,
                    f"'drop_outliers' must leave frames in 'train' and 'val' "
                    f"({len(outliers_of(remarks))} of {len(frames)} are left "
                    f"out)")
        limit = config.batch_limit
        sizes = limit.sizes(frames[split.train])
        needed = int(sizes.max()) * config.num_processes
        require(needed <= limit.number,
                f"'max_num_{limit.unit}' must be at least {needed}, those of "
                f"the largest training frame "
                f"({frames.where(int(split.train[sizes.argmax()]))}) times "
                f"the number of devices (got {limit.number})")
        labels = check_labels(frames, split)
        warn_of_shared_frames(frames, split)
        # In the order of the file, which takes the least time to read.
        train = frames[split.train.sort().values]
        if config.embed_charge:
            states = learned_states(train)
        summary = summarize(BatchLimit(EVAL_BATCH_SIZE).batches(train),
                            frames.label, frames.readout, frames.units,
                            all(remark.label != 'stress'
                                for remark in remarks))
        given: dict[str, Any] = {}
        if isolated is not None:
            given['isolated_atoms'] = summary.elements
            given['atomic_energies'] = find_references(
                frames, config, isolated, summary.elements)
        return cls(**{**vars(summary), **given}, split=split, sizes=sizes,
                   frames=weigh_frames(frames, split.train,
                                       config.config_type_weights),
                   eval_limit=config.eval_limit, labels=labels, states=states,
                   remarks=remarks, drawn=drawn,
                   fingerprint=frames_fingerprint(frames))

    @property
    def output_scale(self) -> float:
        r"""The factor of the output of a model."""
        return self.scale / self.moment_size

    def part(self, name: str) -> list[Data] | AnyFrames:
        r"""Returns the frames of a part of the split. Those in memory are in a
        list, which hands them out in less time.
        """
        frames = self.frames[getattr(self.split, name)]
        return list(frames) if frames.is_in_memory else frames

    def batches(self, name: str,
                batch_size: int | None = None) -> DataLoader:
        r"""Returns the frames of a part of the split in batches, in order."""
        limit = self.eval_limit
        if batch_size is not None:
            limit = BatchLimit(batch_size)
        return limit.batches(self.frames[getattr(self.split, name)])

    def avg_num_neighbors(self, cutoff: float | None) -> float:
        r"""Returns the average number of neighbors of an atom, at least 1.

        Raises:
            ValueError: If no atom of several has a neighbor, without whom a
                potential has no forces.
        """
        train = self.split.train
        sample = self.frames[train[::math.ceil(train.numel() / SAMPLE)]]
        num_edges = int(count_edges(sample, cutoff).sum())
        alone = int(sample.num_atoms.max()) == 1
        require(num_edges > 0 or alone or self.frames.label != 'energy',
                f"'cutoff' must be larger than the distance of some atoms of "
                f"the training frames, in {self.frames.units['length']} "
                f"(got {cutoff})")
        return max(num_edges / int(sample.num_atoms.sum()), 1.0)

    def edges_per_step(self, config: TrainConfig) -> float:
        r"""Returns how many edges a step of one process has, about."""
        some = self.frames[self.split.train[:EVAL_BATCH_SIZE]]
        edges = count_edges(some, config.cutoff).double()
        total = config.batch_size * float(edges.mean())
        if config.max_num_edges is not None:
            total = config.max_num_edges
        elif config.max_num_atoms is not None:
            total = config.max_num_atoms * float(edges.sum() /
                                                 some.num_atoms.sum())
        return total / config.num_processes

    def steps_of_validation(self, config: TrainConfig) -> float:
        r"""Returns how many steps take as long as a validation, about: it has
        no derivatives with respect to parameters, and is not compiled.
        """
        mean = float(self.sizes.double().mean())
        return 0.5 * self.split.val.numel() * mean / config.batch_limit.number

    @property
    def description(self) -> dict[str, Any]:
        r"""What the checkpoints of a run say about its data."""
        frames = self.frames
        description: dict[str, Any] = {
            'kind': 'potential' if frames.label == 'energy' else 'property',
            'label': frames.label, 'readout': frames.readout,
            'energy_scale': self.output_scale, 'units': frames.units,
            'elements': self.elements, 'split': vars(self.split),
            'fingerprint': self.fingerprint
        }
        if self.isolated_atoms is not None:
            description['isolated_atoms'] = self.isolated_atoms
        if frames.label == 'energy':  # where simulations start by default
            first = frames[0]
            if self.isolated_atoms is not None:  # none of which is this
                first = frames[int(self.split.train.min())]
            description['structure'] = {
                key: first[key] for key in (*STRUCTURE, 'charge', 'spin')
                if key in first}
        if self.states:
            description['states'] = self.states
        return description

    def check_settings(self, config: TrainConfig) -> None:
        r"""Raises an error if something is set that these data do not have."""
        for name in ('zbl', 'energy_per_atom'):
            require(self.frames.label == 'energy' or not getattr(config, name),
                    f"'{name}' must not be set for data without energies "
                    f"(got '{self.frames.label}')")
        require(config.resume or self.volume_per_atom > 0 or
                config.stress_weight in (0, TrainConfig.stress_weight),
                f"'stress_weight' must not be given for data without stresses "
                f"(got {config.stress_weight})")

    @property
    def is_of_one_composition(self) -> bool:
        r"""Whether all training frames have the same atoms."""
        num_atoms = self.frames.num_atoms[self.split.train]
        return self.num_compositions == 1 and bool(
            (num_atoms == num_atoms[0]).all())

    def check_references(self) -> None:
        r"""Warns where the energies of the elements are one choice of many, or
        are none of the labels.
        """
        if self.frames.label != 'energy':
            return
        if self.isolated_atoms is not None:
            self._check_given_references()
        elif self.undetermined and not self.is_of_one_composition:
            symbols = ', '.join(map(symbol_of, self.undetermined))
            warnings.warn(f"The compositions of the training frames do not "
                          f"determine the energies of {symbols}: frames of "
                          f"other compositions need 'atomic_energies'")

    def _check_given_references(self) -> None:
        part = next(iter(self.batches('train')))
        bound = energies_per_atom([part], self.atomic_energies)
        mean = float(bound.mean()) if bound.numel() else 0.0
        limit = LARGEST_BOND / ENERGIES[self.frames.units['energy']]
        if abs(mean) > limit:
            warnings.warn(f"The energies of the training frames are {mean:.4g}"
                          f" {self.frames.units['energy']} per atom away from "
                          f"'atomic_energies', more than bonds are: are both "
                          f"of one method, in one unit?")
        # Those near zero have either sign with some pseudopotentials.
        energies = {number: float(self.atomic_energies[number])
                    for number in self.elements}
        some = 0.1 * limit
        positive = [f'{symbol_of(number)} {energy:.4g}' for number, energy
                    in energies.items() if energy > some]
        if positive and min(energies.values()) < -some:
            warnings.warn(f"'atomic_energies' are positive for "
                          f"{', '.join(positive)} and negative for others: "
                          f"have they the right sign?")

    def check_elements(self) -> None:
        r"""Raises an error that names the first frame for validation or for
        testing with an element that is not learned.
        """
        if set(self.frames.elements) <= set(self.elements):
            return
        for name in ('val', 'test'):
            for index in getattr(self.split, name).tolist():
                unknown = sorted({*self.frames[index].z.tolist()} -
                                 {*self.elements})
                require(not unknown,
                        f"The split must have all elements in 'train' (got "
                        f"{symbols_of(unknown)}, atomic numbers {unknown} in "
                        f"{self.frames.where(index)}, of '{name}' only)")
