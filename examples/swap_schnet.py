"""Swaps PyG's SchNet for SAKE: the model is one line, the rest stays.

Both learn energies and forces of random clusters that are held together by
pairwise Morse potentials. The data are made on the spot.
"""

import argparse

import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import global_add_pool
from torch_geometric.nn.models import SchNet

from torch_sake import SAKE, Potential, RadiusInteractionGraph, VectorSAKE
from torch_sake.training.references import fit_atomic_energies

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--num_train', type=int, default=256)
parser.add_argument('--num_test', type=int, default=128)
parser.add_argument('--epochs', type=int, default=20)
args = parser.parse_args()


def morse(z, pos, batch):
    edge_index, dist = RadiusInteractionGraph(cutoff=None)(pos, batch)
    radius = 0.5 + 0.05 * z  # half of the equilibrium distance, by element
    stretch = dist - radius[edge_index].sum(dim=0)
    energy = ((1 - torch.exp(-stretch)).square() - 1) / 2  # each pair twice
    return global_add_pool(energy, batch[edge_index[1]])


def generate(num_frames):
    label = Potential(morse)
    corners = 1.5 * torch.cartesian_prod(*3 * [torch.arange(2.0)])
    frames = []
    for _ in range(num_frames):
        z = torch.tensor([1, 6, 8])[torch.randint(3, (8, ))]
        pos = corners + 0.15 * torch.randn(8, 3)
        energy, force, _ = label(z, pos)
        frames.append(Data(z=z, pos=pos, energy=energy.detach(),
                           force=force.detach()))
    return frames


def errors(potential, data):
    energy, forces, _ = potential(data.z, data.pos, data.batch)
    return ((energy - data.energy).abs().mean(),
            (forces - data.force).abs().mean())


def train_and_test(model, train_frames, test_frames):
    train = next(iter(DataLoader(train_frames, len(train_frames))))
    potential = Potential(model, atomic_energies=fit_atomic_energies(
        train.z, train.batch, train.energy))
    loader = DataLoader(train_frames, batch_size=16, shuffle=True)
    optimizer = torch.optim.Adam(potential.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=args.epochs * len(loader))
    for _ in range(args.epochs):
        for data in loader:
            energy_mae, force_mae = errors(potential, data)
            optimizer.zero_grad()
            (0.1 * energy_mae + force_mae).backward()
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        test = next(iter(DataLoader(test_frames, len(test_frames))))
        return map(float, errors(potential, test))


torch.manual_seed(0)
train_frames, test_frames = generate(args.num_train), generate(args.num_test)
models = {
    'SchNet': SchNet(64, 64, 3, cutoff=5.0,
                     interaction_graph=RadiusInteractionGraph(5.0)),
    'SAKE': SAKE(hidden_channels=64, num_layers=3, cutoff=5.0),
    'VectorSAKE': VectorSAKE(hidden_channels=64, num_layers=3, cutoff=5.0),
}
test = next(iter(DataLoader(test_frames, len(test_frames))))
trivial = [(test.energy - test.energy.mean()).abs().mean(),
           test.force.abs().mean()]
row = '{:<14}{:>18.4f}{:>18.4f}'
print(f"{'':<14}{'Test energy MAE':>18}{'Test force MAE':>18}")
print(row.format('Mean and zero', *trivial))
for name, model in models.items():
    test_errors = train_and_test(model, train_frames, test_frames)
    print(row.format(name, *test_errors), flush=True)
