from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.datasets import (Frames, Split, load_frames, random_split,
                                 read_split)
from torch_sake.neighbors import neighbor_list
from torch_sake.training.config import TrainConfig
from torch_sake.training.references import (batch_weights,
                                            fit_atomic_energies, moment_size,
                                            sum_atomic_energies)

EVAL_BATCH_SIZE = 64


@dataclass
class TrainingData:
    r"""The frames of a run, their split, and what follows from the training
    frames: the atomic energies (or other references), the scale of what is
    learned, the factor of the output of a model, the volume of an atom and the
    elements. The scale is the root mean square of the forces or, without
    forces, of what the references leave of the labels. A dipole moment has no
    references.
    """
    frames: Frames
    split: Split
    atomic_energies: Optional[Tensor]
    scale: float
    output_scale: float
    volume_per_atom: float
    elements: List[int]

    @classmethod
    def from_config(cls, config: TrainConfig) -> 'TrainingData':
        frames = load_config_frames(asdict(config))
        if config.split is not None:
            split = read_split(config.split, len(frames), config.split_prefix)
        else:
            seed = config.seed
            if frames.split_seed is not None:
                seed = frames.split_seed
            split = random_split(len(frames), config.num_train, config.num_val,
                                 config.num_test, seed, frames.test_start)
        for name in ('train', 'val'):
            if getattr(split, name).numel() < config.num_processes:
                raise ValueError(f"The split must have at least one frame in "
                                 f"'{name}' for each device "
                                 f"({len(frames)} frames in all)")
        train = next(iter(DataLoader(frames[split.train],
                                     batch_size=len(frames))))
        atomic_energies, learned = None, train[frames.label]
        if frames.readout != 'dipole':
            weight = batch_weights(frames.readout, train)
            atomic_energies = fit_atomic_energies(train.z, train.batch,
                                                  learned, weight)
            learned = learned - sum_atomic_energies(
                atomic_energies, train.z, train.batch, train.num_graphs,
                weight)
        if frames.has_forces:
            learned = train.force
        scale = float(learned.square().mean().sqrt()) or 1.0
        return cls(
            frames=frames,
            split=split,
            atomic_energies=atomic_energies,
            scale=scale,
            output_scale=scale / moment_size(frames.readout, train),
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
        frames = self.frames
        return {
            'kind': 'potential' if frames.label == 'energy' else 'property',
            'label': frames.label, 'readout': frames.readout,
            'energy_scale': self.output_scale, 'units': frames.units,
            'elements': self.elements, 'split': vars(self.split)
        }


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
