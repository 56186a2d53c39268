"""A data set: two atoms on a spring, at random distances.

    python examples/extending/dataset.py

A function returns Frames. Registered under a name, it is what --data takes, in
scripts of your own.
"""

import tempfile

import torch

from torch_sake.datasets import Frames, load_frames
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.inputs import FRAMES, DataSet


def spring_frames(root=None, number=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    distance = 1 + 0.1 * torch.randn(number, generator=generator).double()
    pos = torch.zeros(number, 2, 3, dtype=torch.double)
    pos[:, 1, 0] = distance
    force = torch.zeros_like(pos)
    force[:, 1, 0] = -5.0 * (distance - 1)
    force[:, 0] = -force[:, 1]
    return Frames(z=torch.ones(2 * number, dtype=torch.long),
                  pos=pos.view(-1, 3), energy=2.5 * (distance - 1)**2,
                  force=force.view(-1, 3), num_atoms=2, name='springs',
                  units={'length': 'Angstrom', 'energy': 'eV'},
                  source='springs')


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(num_train=20, num_val=10, num_steps=20,
                             hidden_channels=8, num_layers=1, device='cpu',
                             val_interval=10, out=f'{folder}/run')
        Trainer(config, frames=spring_frames()).fit()

    # By name:
    FRAMES['springs'] = DataSet(f'{__name__}:spring_frames')
    print(load_frames('springs', root='.'))


if __name__ == '__main__':
    main()
