"""Forecasts charged particles with SAKENet or with EGNN.

    python examples/nbody.py --root data --model sake --epochs 100

The networks take positions, velocities, charges and speeds, with the products
of charges and the squared distances on the edges, and return positions one unit
of time later. The loss is the mean squared error of a coordinate, as in the
literature; test errors are those of the epoch with the best validation.
"""

import argparse
import copy
import time

import torch
from torch_geometric.loader import DataLoader
from tqdm import tqdm

from torch_sake import SAKENet
from torch_sake.datasets import NBody
from torch_sake.models import EGNN
from torch_sake.training.optimizers import build_optimizers

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--root', default='data')
parser.add_argument('--model', default='sake', choices=['sake', 'egnn'])
parser.add_argument('--hidden_channels', type=int, default=64)
parser.add_argument('--num_layers', type=int, default=4)
parser.add_argument('--epochs', type=int, default=100)
parser.add_argument('--batch_size', type=int, default=100)
parser.add_argument('--learning_rate', type=float, default=1e-3)
parser.add_argument('--optimizer', default='adam', choices=['adam', 'muon'])
parser.add_argument('--sizes', type=int, nargs=3, default=[3000, 2000, 2000],
                    help='numbers of systems for train, val and test')
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)
splits = {split: NBody(args.root, split, sizes=args.sizes)
          for split in ('train', 'val', 'test')}
loaders = {split: DataLoader(data, args.batch_size if split == 'train' else
                             500, shuffle=split == 'train')
           for split, data in splits.items()}
sizes = (2, args.hidden_channels, 1)
options = dict(num_layers=args.num_layers, edge_dim=2)
model = {'egnn': EGNN, 'sake': SAKENet}[args.model](*sizes, **options)
optimizers = build_optimizers(model, args.optimizer, args.learning_rate)
schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(
    optimizer, args.epochs * len(loaders['train']))
    for optimizer in optimizers]


def predict(data):
    x = torch.cat([data.x, data.vel.norm(dim=1, keepdim=True)], dim=1)
    source, target = data.edge_index
    square = (data.pos[source] - data.pos[target]).square().sum(
        dim=1, keepdim=True)
    _, pos, _ = model(x, data.pos, data.edge_index, vel=data.vel,
                      edge_attr=torch.cat([data.edge_attr, square], dim=1))
    return pos


@torch.no_grad()
def evaluate(split, predict):
    error = sum(float((predict(data) - data.y).square().sum())
                for data in loaders[split])
    return error / splits[split]._data.y.numel()


def train():
    for data in loaders['train']:
        loss = (predict(data) - data.y).square().mean()
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers):
            optimizer.step()
            scheduler.step()


print(f"test MSE, no motion: {evaluate('test', lambda data: data.pos):.5f}")
print('test MSE, constant velocity: '
      f"{evaluate('test', lambda data: data.pos + data.vel):.5f}")
best, state, began = float('inf'), None, time.process_time()
for epoch in (bar := tqdm(range(args.epochs), unit='epoch')):
    train()
    error = evaluate('val', predict)
    bar.set_postfix(val=f'{error:.5f}')
    if error < best:
        best, state = error, copy.deepcopy(model.state_dict())
model.load_state_dict(state)
print(f'{args.model}: val MSE: {best:.5f}, '
      f"test MSE: {evaluate('test', predict):.5f}, "
      f'processor seconds: {time.process_time() - began:.0f}')
