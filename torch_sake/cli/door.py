r"""What is refused before anything slow is imported."""

import os.path as osp
from typing import Any

from torch_sake.utils.inputs import check_data, find_checkpoint, find_structure
from torch_sake.utils.paths import check_file, local_paths
from torch_sake.utils.plain_checks import to_list


def check_inputs(command: str, config: Any) -> None:
    r"""Raises an error if a file that the settings of a command name is not
    there.
    """
    given = {name: value for name, value in vars(config).items()
             if value is not None}
    resumes = given.get('resume', False)
    if resumes and not osp.isdir(given.get('out', '.')):
        raise ValueError(f"'resume' needs a folder 'out', of what is to go on "
                         f"(got {config.out!r})")
    if 'structure' in given:
        find_structure(config.structure)
    for path in given.get('structures', ()):
        find_structure(path, 'structures')
    if 'checkpoint' in given:
        for path in local_paths('checkpoint', config.checkpoint):
            find_checkpoint(path)
    if 'init' in given and not resumes:  # else all is in its own folder
        for path in local_paths('init', config.init):
            find_checkpoint(path)
    # No name of a published split has an ending:
    if command == 'train' and osp.splitext(given.get('split', ''))[1]:
        check_file(config.split, 'split')
    if 'data' in given:
        check_data_of(command, config)


def check_data_of(command: str, config: Any) -> None:
    r"""Raises an error if the data of a command are not there."""
    if command in ('train', 'evaluate', 'learn'):
        for name in ('data', 'val', 'test'):
            given = getattr(config, name, None)
            for data in [] if given is None else to_list(name, given):
                check_data(data, config.root, name)
    elif command == 'convert' or config.data.endswith('.npz'):
        check_file(config.data)
