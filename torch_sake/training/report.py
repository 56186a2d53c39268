r"""What a training run and an evaluation leave behind for people."""

import json
import os.path as osp
from typing import Dict, List, Optional

from torch import Tensor

from torch_sake.datasets.frames import label_name
from torch_sake.files import replace_when_complete
from torch_sake.training.metrics import (Metrics, error_metrics, format_table,
                                         trivial_outputs)
from torch_sake.training.plots import plot_parity


def report_errors(outputs: Dict[str, Tensor], trivial: Tensor,
                  units: Dict[str, str], folder: str, name: str,
                  title: str) -> Dict[str, Metrics]:
    r"""Prints the errors of the outputs of
    :func:`~torch_sake.training.metrics.predict` beside those of the trivial
    predictor and writes them to :obj:`<name>.json`, with the picture
    :obj:`parity.png`.
    """
    errors = {
        'model': error_metrics(outputs),
        'trivial': error_metrics(trivial_outputs(outputs, trivial,
                                                 label_name(units))),
    }
    print(format_table(title, [
        ('model', errors['model']),
        (', zero '.join(['composition' if trivial.any() else 'zero', *(
            name for name in ('force', 'stress') if name in outputs)]),
         errors['trivial']),
    ], units))
    write_json(errors, osp.join(folder, f'{name}.json'), units)
    plot_parity(outputs, units, folder)
    return errors


def write_json(errors: Dict[str, Metrics], path: str,
               units: Optional[Dict[str, str]]) -> None:
    with replace_when_complete(path) as temporary:
        with open(temporary, 'w') as file:
            json.dump({'units': units, **errors}, file, indent=2)


def check_units(units: Dict[str, str], expected: Dict[str, str]) -> None:
    if units != expected:
        raise ValueError(f"The units of the data must be those of the "
                         f"checkpoint, {expected} (got {units})")


def check_elements(present: List[int], trained: List[int]) -> None:
    unknown = sorted(set(present) - set(trained))
    if unknown:
        raise ValueError(f"The data have atomic numbers {unknown}, which the "
                         f"potential was not trained on (it knows {trained})")
