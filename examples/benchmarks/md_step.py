"""Time of a step of molecular dynamics and where it goes: neighbor list,
model, and ASE with all else, beside other calculators of ASE on the same
structure.

    python examples/benchmarks/md_step.py \
        --checkpoint examples/potentials/ethanol.safetensors

All calculators alternate in one run, by velocity Verlet at constant energy, on
one thread. EMT (of ASE) has parameters for H, C and O that make no sense: it
stands for a potential of almost no cost. GFN2-xTB comes from tblite.
"""

import argparse
import copy
import time

import torch
from ase.calculators.emt import EMT
from ase.md.langevinbaoab import LangevinBAOAB
from ase.units import fs
from table import Table

from torch_sake.calculators import SAKECalculator
from torch_sake.simulation.structures import read_structure


def measure_calls(owner, name, times):
    """Has the time of every call of an attribute added to times[name]."""
    function = getattr(owner, name)

    def timed(*args, **kwargs):
        began = time.perf_counter()
        result = function(*args, **kwargs)
        times[name] = times.get(name, 0.0) + time.perf_counter() - began
        return result

    timed.has_uncertainty = False  # which would be another method
    object.__setattr__(owner, name, timed)


def build(name, args):
    """Returns a calculator and the times of its parts."""
    times = {}
    if name == 'EMT':
        return EMT(), times
    if name == 'GFN2-xTB':
        from tblite.ase import TBLite
        return TBLite(method='GFN2-xTB', verbosity=0), times
    calculator = SAKECalculator(args.checkpoint, compile='compiled' in name)
    measure_calls(calculator.evaluator, 'neighbors', times)
    measure_calls(calculator.evaluator, 'potential', times)
    return calculator, times


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--structure')
    parser.add_argument('--names', nargs='+', default=[
        'torch_sake', 'torch_sake, compiled', 'EMT', 'GFN2-xTB'])
    parser.add_argument('--steps', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--csv', help='a file for the table')
    args = parser.parse_args()

    torch.set_num_threads(1)
    atoms = read_structure(args.structure, args.checkpoint)
    runs = {}
    for name in args.names:
        mine = copy.deepcopy(atoms)
        mine.calc, times = build(name, args)
        dynamics = LangevinBAOAB(mine, 0.5 * fs)
        dynamics.run(10)
        runs[name] = (dynamics, times, [])
    for _ in range(args.rounds):
        for dynamics, times, totals in runs.values():
            times.clear()
            began = time.perf_counter()
            dynamics.run(args.steps)
            total = time.perf_counter() - began
            parts = [times.get(key, 0.0) for key in ('neighbors', 'potential')]
            totals.append([1000 * value / args.steps for value in (
                total, *parts, total - sum(parts))])
    print(f'{atoms.get_chemical_formula()}, {len(atoms)} atoms, median of '
          f'{args.rounds} rounds of {args.steps} steps, torch '
          f'{torch.__version__}, one thread\n')
    table = Table('calculator', 'ms per step', 'neighbor list', 'model',
                  'rest', path=args.csv)
    for name, (_, times, totals) in runs.items():
        medians = torch.tensor(totals).median(dim=0).values.tolist()
        parts = medians[1:] if times else ['', '', '']
        cells = [f'{part:.2f}' if part != '' else '' for part in parts]
        table.add(name, f'{medians[0]:.2f}', *cells)


if __name__ == '__main__':
    main()
