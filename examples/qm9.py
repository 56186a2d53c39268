"""Trains SAKE on one of the twelve usual targets of QM9.

 0 dipole moment (D)       4 gap (meV)            8 U (meV)
 1 polarizability (a0^3)   5 <R^2> (a0^2)         9 H (meV)
 2 HOMO (meV)              6 ZPVE (meV)          10 G (meV)
 3 LUMO (meV)              7 U0 (meV)            11 c_v (cal/(mol K))

The files lie below --root where PyG's QM9 puts them, such as
<root>/raw/gdb9.sdf. Those that are missing are downloaded.
"""

import argparse
import copy

import torch
from torch_geometric.loader import DataLoader
from torch_geometric.utils import scatter

from torch_sake import SAKE
from torch_sake.datasets import qm9_frames, random_split
from torch_sake.datasets.frames.qm9 import TARGETS
from torch_sake.training.references import fit_atomic_energies

UNITS = ['D', 'a0^3'] + 3 * ['meV'] + ['a0^2'] + 5 * ['meV'] + ['cal/(mol K)']

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument('--root', default='data/qm9')
parser.add_argument('--target', type=int, default=7, choices=range(12),
                    metavar='0...11')
parser.add_argument('--num_train', type=int, default=110_000)
parser.add_argument('--num_val', type=int, default=10_000)
parser.add_argument('--hidden_channels', type=int, default=64)
parser.add_argument('--num_layers', type=int, default=6)
parser.add_argument('--epochs', type=int, default=300)
parser.add_argument('--batch_size', type=int, default=32)
parser.add_argument('--lr', type=float, default=5e-4)
args = parser.parse_args()

torch.manual_seed(0)
device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
unit = UNITS[args.target]
factor = 1000 if unit == 'meV' else 1

# U, H and G are those of atomization, without the energies of the single
# atoms: small numbers, errors of which mean the same.
name = list(TARGETS)[args.target]
scale = TARGETS[name].factor  # of eV and D
dataset = qm9_frames(args.root, name)
split = random_split(len(dataset), args.num_train, args.num_val)
train_loader = DataLoader(dataset[split.train], args.batch_size, shuffle=True)
val_loader = DataLoader(dataset[split.val], batch_size=256)
test_loader = DataLoader(dataset[split.test], batch_size=256)

# A dipole moment is a sum of charges times positions, an orbital energy a mean
# of what the atoms contribute, everything else a sum. The model learns what is
# left of a sum after the best constant for each element.
if args.target == 0:
    options = dict(dipole=True)
else:
    train = next(iter(DataLoader(dataset[split.train], len(split.train))))
    values = train[name] / scale
    if args.target in (2, 3, 4):
        options = dict(readout='mean')
    else:
        atomref = fit_atomic_energies(train.z, train.batch, values)
        values = values - scatter(atomref[train.z], train.batch)
        values = values / train.ptr.diff()  # mean and std are those of an atom
        options = dict(readout='add', atomref=atomref)
    options.update(mean=float(values.mean()), std=float(values.std()))

model = SAKE(args.hidden_channels, num_layers=args.num_layers, cutoff=None,
             **options).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
    optimizer, T_max=args.epochs * len(train_loader))


def absolute_errors(data):
    out = model(data.z, data.pos.float(), data.batch).squeeze(1)
    return (out - data[name].float() / scale).abs()


def train_epoch():
    model.train()
    total_loss = 0.0
    for data in train_loader:
        data = data.to(device)
        loss = absolute_errors(data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total_loss += float(loss.detach()) * data.num_graphs
    return factor * total_loss / len(train_loader.dataset)


@torch.no_grad()
def test(loader):
    model.eval()
    errors = torch.cat([absolute_errors(data.to(device)) for data in loader])
    return factor * float(errors.mean())


best_mae, best_state = float('inf'), None
for epoch in range(1, args.epochs + 1):
    loss = train_epoch()
    val_mae = test(val_loader)
    if val_mae < best_mae:
        best_mae, best_state = val_mae, copy.deepcopy(model.state_dict())
    print(f'Epoch: {epoch:03d}, Loss: {loss:.4f}, '
          f'Val MAE: {val_mae:.4f} {unit}', flush=True)

model.load_state_dict(best_state)
print(f'Best val MAE: {best_mae:.4f} {unit}, '
      f'Test MAE: {test(test_loader):.4f} {unit}')
