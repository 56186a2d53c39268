import os.path as osp
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.datasets import (Frames, Split, load_frames,
                                 published_split, random_split, read_split)
from torch_sake.neighbors import neighbor_list
from torch_sake.training.config import TrainConfig
from torch_sake.training.references import (fit_atomic_energies,
                                            sum_atomic_energies)

EVAL_BATCH_SIZE = 64


@dataclass
class TrainingData:
    r"""The frames of a run, their split, and what follows from the training
    frames: the atomic energies, the scale of what is learned, the volume of an
    atom and the elements. The scale is the root mean square of the forces or,
    without forces, of what the atomic energies leave of the energies.
    """
    frames: Frames
    split: Split
    atomic_energies: Tensor
    scale: float
    volume_per_atom: float
    elements: List[int]

    @classmethod
    def from_config(cls, config: TrainConfig) -> 'TrainingData':
        frames = load_config_frames(asdict(config))
        if config.split is not None and not osp.isfile(config.split):
            split = published_split(frames.splits, config.split, len(frames),
                                    config.num_val, config.seed)
        elif config.split is not None:
            split = read_split(config.split, len(frames), config.split_prefix)
        else:
            split = random_split(len(frames), config.num_train, config.num_val,
                                 config.num_test, config.seed,
                                 frames.test_start)
        for name in ('train', 'val'):
            if getattr(split, name).numel() < config.num_processes:
                raise ValueError(f"The split must have at least one frame in "
                                 f"'{name}' for each device "
                                 f"({len(frames)} frames in all)")
        train = next(iter(DataLoader(frames[split.train],
                                     batch_size=len(frames))))
        atomic_energies = fit_atomic_energies(train.z, train.batch,
                                              train.energy)
        if frames.has_forces:
            learned = train.force
        else:
            learned = train.energy - sum_atomic_energies(
                atomic_energies, train.z, train.batch, train.num_graphs)
        return cls(
            frames=frames,
            split=split,
            atomic_energies=atomic_energies,
            scale=float(learned.square().mean().sqrt()) or 1.0,
            volume_per_atom=_volume_per_atom(train),
            elements=train.z.unique().tolist(),
        )

    def batches(self, name: str,
                batch_size: int = EVAL_BATCH_SIZE) -> DataLoader:
        r"""Returns the frames of a part of the split, in order."""
        return DataLoader(self.frames[getattr(self.split, name)],
                          batch_size=batch_size)

    def avg_num_neighbors(self, cutoff: Optional[float]) -> float:
        r"""Returns the average number of neighbors of an atom, at least 1."""
        num_edges = num_atoms = 0
        for data in self.batches('train'):
            edge_index, _ = neighbor_list(data.pos, cutoff, data.batch,
                                          data.get('cell'), data.get('pbc'))
            num_edges += edge_index.size(1)
            num_atoms += data.num_nodes
        return max(num_edges / num_atoms, 1.0)

    @property
    def description(self) -> Dict[str, Any]:
        r"""What the checkpoints of a run say about its data."""
        return {'energy_scale': self.scale, 'units': self.frames.units,
                'elements': self.elements, 'split': vars(self.split)}

    def trivial_energies(self, name: str) -> Tensor:
        r"""Returns the energies that follow from the composition alone."""
        part = next(iter(self.batches(name, len(self.frames))))
        return sum_atomic_energies(self.atomic_energies, part.z, part.batch,
                                   part.num_graphs)


def _volume_per_atom(data: Data) -> float:
    r"""Returns the mean volume of an atom in the frames with a stress."""
    if 'stress' not in data:
        return 0.0
    known = ~data.stress.isnan().flatten(1).any(dim=1)
    volume = torch.linalg.det(data.cell[known]).abs()
    return float(volume.sum() / data.ptr.diff()[known].sum().clamp(min=1))


def load_config_frames(config: Dict[str, Any]) -> Frames:
    r"""Returns the frames of a configuration, as a dictionary."""
    options = {}
    if config['num_frames'] is not None:
        options['num_frames'] = config['num_frames']
    return load_frames(config['data'], root=config['root'],
                       seed=config['data_seed'], **options)
