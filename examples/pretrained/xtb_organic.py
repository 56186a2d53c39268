"""Makes ``pretrained:xtb-organic``, a potential of molecules of H, C, N, O and
F that knows what GFN2-xTB says of them, hot, stretched and broken.

    pip install 'torch-sake[train]' qm9pack
    python examples/pretrained/xtb_organic.py --out organic

Molecules are drawn (molecules.py), structures grown from them and labeled
(torch_sake.sampling) by all processors, 30 minutes of one of them, and the
training takes 70 minutes. All is kept in --out: a call that is repeated
goes on. ``--stage label`` ends after the labels, ``--stage train`` after the
training. ``--stage test_labels`` labels what is tested on, and no more;
``--stage assess`` does all that follows the training: it assesses the
potential (assess.py) and writes the files of the package (release.py) to the
folder 'release' in --out.
"""

import argparse
import os
import os.path as osp

from assess import assess
from molecules import draw
from release import release, table

from torch_sake import load_potential
from torch_sake.datasets import Frames, load_frames, write_frames
from torch_sake.sampling import Structure, grow, label
from torch_sake.training import TrainConfig, Trainer

NAME = 'xtb-organic'
CARD = {
    'description': 'GFN2-xTB for molecules of H, C, N, O and F of up to 30 '
                   'atoms and their pieces, hot, stretched and broken',
    'version': '1.0',
    'method': 'GFN2-xTB (tblite), without solvent, of the lowest multiplicity '
              'that the number of electrons allows',
    'data': 'Molecules of QM9 (qm9pack), and others made of them by a change '
            'of elements: short Langevin dynamics at 300 to 1500 K, turned, '
            'stretched and pressed bonds, pieces, dimers, isolated atoms',
    'recipe': 'examples/pretrained/xtb_organic.py',
    'not_for': [
        'numbers better than those of GFN2-xTB: fine-tune it to labels of a '
        'better method',
        'other elements, ions, excited states and given multiplicities',
        'what is longer-ranged than the cutoff of 5 Angstrom: charges, '
        'dipoles and dispersion beyond it',
        'liquids, crystals and surfaces: it has seen no more than two '
        'molecules at a time',
        'barriers of reactions, unless they are checked',
        'atoms that are pressed closer than half the sum of their covalent '
        'radii: its energies fall there, where those of GFN2-xTB rise',
    ],
}
NUM_FRAMES = 40000
# Of these, those of drawn, of changed and of the most frequent molecules:
SHARES = {'drawn': 0.7, 'changed': 0.24, 'small': 0.06}
TEMPERATURES = (300, 1000)  # K, of tests
TITLES = {f'{name}_{temperature}K': f'{title}, {temperature} K'
          for name, title in (('qm9', 'QM9'), ('g2', 'g2'))
          for temperature in TEMPERATURES}
TESTS = list(TITLES)
NUM_STEPS = 100  # fs of dynamics, after which a frame is validated or tested
MODEL = {'hidden_channels': 96, 'num_layers': 3}
SETTINGS = {
    'atomic_energies': 'isolated', 'energy_per_atom': True,
    'energy_weight': 0.5, 'ema_decay': 0.999, 'max_num_atoms': 240,
    'val_interval': 1000, **MODEL,
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
                      num_steps=NUM_STEPS, interval=NUM_STEPS,
                      config_type=config_type) for one in molecules]


def grown(drawn, args):
    """Returns the structures that are learned from."""
    out = []
    for number, (name, share) in enumerate(SHARES.items()):
        molecules = getattr(drawn, name)
        if molecules:
            out += grow(unlabeled(molecules), seed=args.seed + number,
                        num_frames=round(share * args.num_frames))
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


def draw_molecules(args):
    return draw(args.seed, args.num_molecules, args.num_changed,
                args.num_test, args.num_test, args.qm9)


def write_labels(names, args):
    """Draws, grows and labels what is not there yet."""
    names = [name for name in names if not osp.exists(file_of(args, name))]
    if not names:
        return
    drawn = draw_molecules(args)
    print(f'{len(drawn.drawn)} molecules of QM9 and {len(drawn.changed)} that '
          f'are changed to learn from, {len(drawn.qm9_val)} to validate, '
          f'{len(drawn.qm9_test)} and {len(drawn.g2_test)} of g2 to test on',
          flush=True)
    for name in names:
        frames = label(structures_of(name, drawn, args), calculator='xtb',
                       seed=args.seed,
                       folder=osp.join(args.out, 'labels', name),
                       num_processes=args.num_processes)
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


def publish(args):
    """Assesses the potential and writes the files of the package."""
    checkpoint = osp.join(args.out, 'run', 'best.safetensors')
    drawn = draw_molecules(args)
    errors = assess(
        checkpoint, load_potential(checkpoint).eval(),
        {TITLES[name]: load_frames(file_of(args, name)) for name in TESTS},
        drawn, args.out, args.num_ps, seed=args.seed)
    folder = osp.join(args.out, 'release')
    release(checkpoint, folder, NAME, {
        **CARD, **errors, 'num_molecules': sum(map(len, drawn[:3])),
        'num_frames': len(load_frames(file_of(args, 'train')))})
    with open(osp.join(folder, 'table.rst'), 'w') as file:
        file.write(table(errors['errors']))
    print(table(errors['errors']))
    for kind in ('conformers', 'hot'):
        print(kind, *errors[kind], sep='\n')
    print(f"The files are in {folder}. Those of the package are in "
          f"torch_sake/potentials/released.")


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
    parser.add_argument('--num_test', type=int, default=100)
    parser.add_argument('--num_frames', type=int, default=NUM_FRAMES)
    parser.add_argument('--num_steps', type=int)
    parser.add_argument('--max_time', default='01:10:00')
    parser.add_argument('--num_ps', type=float, default=100.0,
                        help='time of the molecules that are simulated')
    parser.add_argument('--num_processes', type=int,
                        help='that label; all processors if not given')
    parser.add_argument('--stage', default='release', choices=(
        'label', 'test_labels', 'train', 'assess', 'release'))
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if args.stage in ('label', 'train', 'release'):
        write_labels(('train', 'val'), args)
    if args.stage in ('train', 'release'):
        train(args)
    if args.stage in ('test_labels', 'assess', 'release'):
        write_labels(TESTS, args)
    if args.stage in ('assess', 'release'):
        publish(args)


if __name__ == '__main__':
    main()
