"""Makes ``pretrained:xtb-organic``, a potential of molecules of H, C, N, O and
F that knows what GFN2-xTB says of them, hot, stretched and broken.

    pip install 'torch-sake[train]' qm9pack
    python examples/pretrained/xtb_organic.py --out organic

Molecules are drawn (molecules.py), structures grown from them and labeled
(torch_sake.sampling) by all processors, 60 minutes of one of them, and the
training takes two hours. All is kept in --out: a call that is repeated goes
on. ``--stage label`` ends after the labels, ``--stage train`` after the
training.
"""

import argparse
import os
import os.path as osp

from molecules import draw

from torch_sake.datasets import Frames, write_frames
from torch_sake.sampling import Structure, grow, label
from torch_sake.training import TrainConfig, Trainer

NUM_FRAMES = 60000
# Of these, those of drawn, of changed and of the most frequent molecules:
SHARES = {'drawn': 0.7, 'changed': 0.24, 'small': 0.06}
HOT = (300.0, 600.0, 1000.0, 1500.0, 2500.0)  # K
TEMPERATURES = (300, 1000)  # K, of tests
TESTS = [f'{name}_{temperature}K' for name in ('qm9', 'g2')
         for temperature in TEMPERATURES]
# Of validations and tests: Langevin dynamics of 200 fs, a frame every 50.
NUM_STEPS, INTERVAL = 200, 50
MODEL = {'hidden_channels': 96, 'num_layers': 3}
SETTINGS = {
    'atomic_energies': 'isolated', 'zbl': True, 'energy_per_atom': True,
    'max_num_atoms': 240, 'val_interval': 1000, 'num_test': 0, **MODEL,
}


def unlabeled(molecules):
    """Returns molecules as frames whose labels are not known."""
    return Frames(z=[one.z for one in molecules],
                  pos=[one.pos for one in molecules],
                  energy=[None] * len(molecules),
                  name='molecules', source='molecules',
                  units={'length': 'Angstrom', 'energy': 'eV'})


def hot(molecules, temperature, config_type):
    """Returns molecules that move at a temperature."""
    return [Structure(one.z, one.pos, temperature=temperature,
                      num_steps=NUM_STEPS, interval=INTERVAL,
                      config_type=config_type) for one in molecules]


def grown(drawn, args):
    """Returns the structures that are learned from."""
    out = []
    for number, (name, share) in enumerate(SHARES.items()):
        molecules = getattr(drawn, name)
        if molecules:
            out += grow(unlabeled(molecules), seed=args.seed + number,
                        num_frames=round(share * args.num_frames),
                        temperatures=HOT)
    return out


def structures_of(name, drawn, args):
    """Returns the structures of a file: 'train', 'val' or '<set>_<T>K'."""
    if name == 'train':
        return grown(drawn, args)
    if name == 'val':
        return [structure for temperature in TEMPERATURES for structure in
                hot(drawn.qm9_val, temperature, f'{temperature} K')]
    kind, _, temperature = name.partition('_')
    molecules = (drawn.g2_test if kind == 'g2' else
                 dict(enumerate(drawn.qm9_test)))
    return [structure for number, one in molecules.items() for structure in
            hot([one], float(temperature[:-1]), f'{kind}:{number}')]


def write_labels(names, args):
    """Draws, grows and labels what is not there yet."""
    names = [name for name in names if not osp.exists(file_of(args, name))]
    if not names:
        return
    drawn = draw(args.seed, args.num_molecules, args.num_changed,
                 args.num_test // 2, args.num_test, args.qm9)
    print(f'{len(drawn.drawn)} molecules of QM9 and {len(drawn.changed)} that '
          f'are changed to learn from, {len(drawn.qm9_val)} to validate, '
          f'{len(drawn.qm9_test)} and {len(drawn.g2_test)} of g2 to test on',
          flush=True)
    for name in names:
        frames = label(structures_of(name, drawn, args), calculator='xtb',
                       seed=args.seed,
                       folder=osp.join(args.out, 'labels', name))
        print(f'{name}: {len(frames)} frames', flush=True)
        write_frames([frames], file_of(args, name))


def file_of(args, name):
    return osp.join(args.out, f'{name}.frames')


def train(args):
    """Trains, or goes on with it."""
    out = osp.join(args.out, 'run')
    resume = osp.exists(osp.join(out, 'last.safetensors'))
    length = ({'num_steps': args.num_steps} if args.num_steps else
              {'max_time': args.max_time})
    Trainer(TrainConfig(
        file_of(args, 'train'), val=file_of(args, 'val'), out=out,
        seed=args.seed, resume=resume, **length, **SETTINGS)).fit()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='organic')
    parser.add_argument('--qm9', help='folder of the tables of qm9pack, if '
                        'it is not installed')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num_molecules', type=int, default=12000)
    parser.add_argument('--num_changed', type=int, default=4000)
    parser.add_argument('--num_test', type=int, default=200)
    parser.add_argument('--num_frames', type=int, default=NUM_FRAMES)
    parser.add_argument('--num_steps', type=int)
    parser.add_argument('--max_time', default='01:45:00')
    parser.add_argument('--stage', choices=('label', 'train', 'release'),
                        default='release')
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    write_labels(('train', 'val'), args)
    if args.stage != 'label':
        train(args)
    if args.stage == 'release':
        write_labels(TESTS, args)


if __name__ == '__main__':
    main()
