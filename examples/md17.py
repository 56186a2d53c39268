"""Trains a potential on energies and forces of a molecule of MD17.

The files lie below --root where PyG's MD17 puts them, such as
<root>/ethanol/raw/md17_ethanol.npz, or directly in it; files that are missing
are downloaded.
"""

import argparse

import torch
from torch_geometric.loader import DataLoader

from torch_sake import SAKE, Potential

# Not PyG's own MD17 class: it keeps energies in float32, which resolves the
# -97,000 kcal/mol of ethanol in steps of 0.008 kcal/mol. This one reads the
# same files in float64.
from torch_sake.datasets import md17_frames, random_split
from torch_sake.training.references import fit_atomic_energies

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--root', default='data/md17')
parser.add_argument('--name', default='ethanol')
parser.add_argument('--num_train', type=int, default=950)
parser.add_argument('--num_val', type=int, default=50)
parser.add_argument('--num_test', type=int, default=1000)
parser.add_argument('--hidden_channels', type=int, default=64)
parser.add_argument('--num_layers', type=int, default=6)
parser.add_argument('--epochs', type=int, default=100)
parser.add_argument('--batch_size', type=int, default=8)
parser.add_argument('--lr', type=float, default=2e-3)
args = parser.parse_args()

torch.manual_seed(0)
device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

frames = md17_frames(args.root, args.name)
split = random_split(len(frames), args.num_train, args.num_val, args.num_test,
                     test_start=frames.test_start)
train_loader = DataLoader(frames[split.train], args.batch_size, shuffle=True)
val_loader = DataLoader(frames[split.val], batch_size=64)
test_loader = DataLoader(frames[split.test], batch_size=64)

# The model learns what is left after the energies of single atoms, in units
# of the forces. Potential adds the atoms again, in float64, so that no digit
# of the labels is lost.
train = next(iter(DataLoader(frames[split.train], len(split.train))))
force_rms = float(train.force.square().mean().sqrt())
atomic_energies = fit_atomic_energies(train.z, train.batch, train.energy)

model = SAKE(args.hidden_channels, num_layers=args.num_layers, heads=1)
potential = Potential(model, force_rms, atomic_energies).to(device)
optimizer = torch.optim.Adam(potential.parameters(), lr=args.lr)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
    optimizer, T_max=args.epochs * len(train_loader))


def errors(data):
    energy, forces, _ = potential(data.z, data.pos.float(), data.batch)
    return energy - data.energy, forces - data.force


def train_epoch():
    potential.train()
    total_loss = 0.0
    for data in train_loader:
        data = data.to(device)
        energy_error, force_error = errors(data)
        loss = force_error.abs().mean() + 0.1 * energy_error.abs().mean()
        optimizer.zero_grad()
        (loss / force_rms).backward()
        torch.nn.utils.clip_grad_norm_(potential.parameters(), 10.0)
        optimizer.step()
        scheduler.step()
        total_loss += float(loss.detach()) * data.num_graphs
    return total_loss / len(train_loader.dataset)


@torch.no_grad()
def test(loader):
    potential.eval()
    batches = [errors(data.to(device)) for data in loader]
    energy_error, force_error = map(torch.cat, zip(*batches))
    return float(energy_error.abs().mean()), float(force_error.abs().mean())


for epoch in range(1, args.epochs + 1):
    loss = train_epoch()
    energy_mae, force_mae = test(val_loader)
    print(f'Epoch: {epoch:03d}, Loss: {loss:.4f}, '
          f'Val energy MAE: {energy_mae:.4f}, '
          f'Val force MAE: {force_mae:.4f}', flush=True)

energy_mae, force_mae = test(test_loader)
print(f'Test energy MAE: {energy_mae:.4f} kcal/mol, '
      f'Test force MAE: {force_mae:.4f} kcal/mol/Angstrom')
