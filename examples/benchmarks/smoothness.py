"""Smoothness at the cutoff: scans an atom across the cutoff of two others and
draws the energy, the force on it and their second differences.

    python examples/benchmarks/smoothness.py --out smoothness

Models are this package's SAKE and VectorSAKE with both envelopes, PyG's SchNet
and the layer of the paper on a radius graph, where all edges shorter than the
cutoff count in full. They have random parameters and are computed in float64.
The third atom moves beside the axis of the first two, from half the cutoff to
beyond it, and so loses one neighbor after the other. Second differences are in
units of the largest change along the scan, of the energy or of any component
of a force; the table has the largest ones around the two crossings of the
cutoff, over the seeds.

Results are kept in --out: smoothness.md, smoothness.csv and
smoothness.png.
"""

import argparse
import io
import os

import torch
from matplotlib.figure import Figure
from PIL import Image
from table import write_csv
from torch_geometric.nn.models import SchNet

import torch_sake
from torch_sake import (
    SAKE,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    neighbor_list,
)
from torch_sake.utils.files import replace_when_complete

BOND = 1.2  # of the two atoms that do not move
HEIGHT = 0.7  # of the line above their axis
WINDOW = 0.01  # around each crossing
SHOWN = ("paper's layer, radius graph", 'SchNet', 'SAKE', 'VectorSAKE')
TARGETS = {'energy': 1e-7, 'force': 1e-5}


class RadiusGraphSAKE(torch.nn.Module):
    """The layers of the paper on the edges shorter than the cutoff."""
    def __init__(self, cutoff, **kwargs):
        super().__init__()
        self.cutoff = cutoff
        self.model = SAKE(cutoff=None, **kwargs)

    def forward(self, z, pos, batch):
        edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        return self.model(z, pos, batch, edge_index=edge_index)


def build_models(args):
    """Returns a function for each model that builds it."""
    size = dict(hidden_channels=args.hidden_channels,
                num_layers=args.num_layers)
    own = dict(size, cutoff=args.cutoff)
    return {
        "paper's layer, radius graph":
        lambda: RadiusGraphSAKE(args.cutoff, **size),
        'SchNet':
        lambda: SchNet(args.hidden_channels, args.hidden_channels,
                       args.num_layers, cutoff=args.cutoff,
                       interaction_graph=RadiusInteractionGraph(args.cutoff)),
        'SAKE, cosine': lambda: SAKE(envelope='cosine', **own),
        'VectorSAKE, cosine': lambda: VectorSAKE(envelope='cosine', **own),
        'SAKE': lambda: SAKE(**own),
        'VectorSAKE': lambda: VectorSAKE(**own),
    }


@torch.no_grad()
def scan(potential, places, chunk_size=256):
    """Returns energies [P] and forces [P, 9] with the third atom at each of
    the places.
    """
    z, energies, forces = torch.tensor([6, 8, 1]), [], []
    for chunk in places.split(chunk_size):
        pos = torch.zeros(chunk.numel(), 3, 3, dtype=torch.double)
        pos[:, 1, 0] = -BOND
        pos[:, 2, 0] = chunk
        pos[:, 2, 1] = HEIGHT
        batch = torch.arange(chunk.numel()).repeat_interleave(3)
        outputs = potential(z.repeat(chunk.numel()), pos.view(-1, 3), batch)
        energies.append(outputs[0])
        forces.append(outputs[1].view(-1, 9))
    return torch.cat(energies), torch.cat(forces)


def measure(values):
    """Returns the scale of values [P, C], and second differences [P - 2] in
    its units.
    """
    scale = (values.amax(dim=0) - values.amin(dim=0)).max()
    return float(scale), values.diff(n=2, dim=0).abs().amax(dim=1) / scale


def crossings(cutoff):
    """Returns where the third atom is at the cutoff of the others."""
    first = (cutoff**2 - HEIGHT**2)**0.5
    return first, first - BOND


def run(build, seed, places, cutoff):
    """Returns the curves of a model and their second differences."""
    torch.manual_seed(seed)
    energy, forces = scan(Potential(build().double()), places)
    energy_scale, energy_second = measure(energy.view(-1, 1))
    force_scale, force_second = measure(forces)
    near = (places[1:-1].view(-1, 1) - torch.tensor(
        crossings(cutoff))).abs().amin(dim=1) < WINDOW
    return {
        'energy': (energy - energy[-1]) / energy_scale,
        'force': forces[:, 6] / force_scale,
        'second': {'energy': energy_second, 'force': force_second},
        'scale': {'energy': energy_scale, 'force': force_scale},
        'largest': {'energy': float(energy_second[near].max()),
                    'force': float(force_second[near].max())},
    }


def write_table(results, args, path):
    """Writes the scales and the largest second differences."""
    lines = [
        f'cutoff {args.cutoff:g}, steps of {args.step:g}, '
        f'{args.hidden_channels} channels, {args.num_layers} layers, seeds '
        f"{' '.join(map(str, args.seeds))}, float64, torch "
        f'{torch.__version__}, torch_sake {torch_sake.__version__}', '',
    ]
    rows = [('model', 'change of the energy', 'second difference / change',
             'change of the force', 'second difference / change')]
    for name, runs in results.items():
        cells = []
        for key in TARGETS:
            scales = [run['scale'][key] for run in runs]
            largest = max(run['largest'][key] for run in runs)
            cells += [f'{min(scales):.2g} to {max(scales):.2g}',
                      f'{largest:.1e}']
        rows.append((name, *cells))
    write_csv(rows, os.path.join(args.out, 'smoothness.csv'))
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    lines += [head, 5 * '|---' + '|', *body]
    with replace_when_complete(path) as temporary:
        with open(temporary, 'w') as file:
            file.write('\n'.join(lines) + '\n')
    print('\n'.join(lines))


def draw(results, places, args, path):
    """Draws the curves and second differences of the first seed."""
    figure = Figure(figsize=(7.5, 5), layout='constrained')
    axes = figure.subplots(2, 2, sharex=True)
    width = max(places.numel() // 150, 1)
    for index, name in enumerate(SHOWN):
        first = results[name][0]
        style = dict(color=f'C{index}', linewidth=1.2, label=name)
        for axis, key in zip(axes[0], TARGETS):
            axis.plot(places, first[key], **style)
        for axis, key in zip(axes[1], TARGETS):
            second = first['second'][key]
            largest = torch.stack([part.max() for part in second.split(width)])
            axis.plot(places[1:-1][::width], largest.clamp(min=1e-11), **style)
    for axis, key in zip(axes[0], TARGETS):
        axis.set(ylabel=f'{key} / its change')
    for axis, (key, target) in zip(axes[1], TARGETS.items()):
        axis.axhline(target, color='black', linewidth=0.8, linestyle='--')
        axis.set(ylabel='second difference / change',
                 xlabel='position of the third atom', yscale='log')
    for axis in axes.flat:
        for place in crossings(args.cutoff):
            axis.axvline(place, color='black', linewidth=0.8, linestyle=':')
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=len(SHOWN),
                  loc='outside upper center')
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100)
    with replace_when_complete(path) as temporary:
        # A palette is enough for lines, at a quarter of the size.
        Image.open(picture).convert('RGB').quantize(64).save(
            temporary, 'png', optimize=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cutoff', type=float, default=5.0)
    parser.add_argument('--step', type=float, default=1e-4)
    parser.add_argument('--start', type=float,
                        help='first place of the third atom (default: half '
                        'the cutoff)')
    parser.add_argument('--hidden_channels', type=int, default=32)
    parser.add_argument('--num_layers', type=int, default=3)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--out', default='smoothness')
    args = parser.parse_args()

    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    start = args.cutoff / 2 if args.start is None else args.start
    places = torch.arange(start, args.cutoff + 0.2, args.step,
                          dtype=torch.double)
    results = {name: [run(build, seed, places, args.cutoff)
                      for seed in args.seeds]
               for name, build in build_models(args).items()}
    write_table(results, args, os.path.join(args.out, 'smoothness.md'))
    draw(results, places, args, os.path.join(args.out, 'smoothness.png'))


if __name__ == '__main__':
    main()
