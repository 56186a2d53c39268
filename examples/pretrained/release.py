"""Makes a file of the package of a potential that is trained and assessed."""

import hashlib
import json
import os
import os.path as osp

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.utils.elements import symbol_of

# Of a run, what others need not know: where its data were, and which frames.
OF_RUN = ('config', 'split', 'fingerprint', 'history', 'old_elements',
          'init')
MAX_SIZE = 4 * 2**20  # bytes


def release(checkpoint, folder, name, card):
    """Writes NAME.safetensors and NAME.json, and returns the card.

    Args:
        checkpoint (str): The checkpoint of a run, or its folder.
        folder (str): The folder to write to.
        name (str): The name.
        card (dict): What the card is to say, beside the digest and elements.
    """
    os.makedirs(folder, exist_ok=True)
    tensors, description = load_checkpoint(checkpoint)
    cutoff = description['config'].get('cutoff')
    tensors = {key: value for key, value in tensors.items()
               if not key.startswith('split.')}
    about = {key: value for key, value in description.items()
             if key not in OF_RUN}
    about['released'] = {'name': name, 'version': card['version']}
    about['config'] = {'data': f"{name} {card['version']}", 'cutoff': cutoff}
    path = osp.join(folder, f'{name}.safetensors')
    save_checkpoint(path, tensors, about)
    size = osp.getsize(path)
    if size > MAX_SIZE:
        raise SystemExit(f'{path} has {size} bytes, more than {MAX_SIZE}')
    with open(path, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    card = {**card, 'sha256': digest, 'elements': [
        symbol_of(number) for number in description['elements']]}
    with open(osp.join(folder, f'{name}.json'), 'w') as file:
        json.dump(card, file, indent=1)
        file.write('\n')
    return card


def table(errors):
    """Returns errors of the force, in percent of its mean, and of the energy
    as a table of the documentation.
    """
    sets = list(dict.fromkeys(row['set'] for row in errors))
    found = {(row['group'], row['set']): row for row in errors}
    groups = dict.fromkeys(row['group'] for row in errors)
    rows = [['', *sets]]
    for group in groups:
        rows.append([f'force, {group} (%)', *(
            f"{found[group, one]['force_percent']:.1f}"
            if (group, one) in found else '' for one in sets)])
    for title, key in (('mean force (meV/Å)', 'force_mean'),
                       ('force (meV/Å)', 'force_mae'),
                       ('energy (meV per atom)', 'energy_mae')):
        rows.append([title, *(f"{found['all', one][key]:.1f}"
                              for one in sets)])
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for first, *others in rows:
        lines += [f'   * - {first}'.rstrip(), *(
            f'     - {cell}'.rstrip() for cell in others)]
    return '\n'.join(lines) + '\n'
