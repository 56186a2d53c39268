r"""Checkpoints: one file of tensors in the safetensors format, which holds no
code, and a description in JSON in its header.
"""

import json
import os
import os.path as osp
import platform
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import safetensors
import safetensors.torch
import torch
import torch_geometric
from torch import Tensor

from torch_sake.files import PathLike, local_path, replace_when_complete
from torch_sake.models import SAKE, VectorSAKE
from torch_sake.potentials.ensemble import Ensemble
from torch_sake.potentials.potential import Potential
from torch_sake.potentials.property import Property
from torch_sake.potentials.zbl import ZBLRepulsion
from torch_sake.version import __version__

# In 2, edges of VectorSAKE know their angles; in 3, the lengths of its vectors
# have no kink, and the logits of SAKE with a cutoff are bounded.
FORMAT = 3
MODELS = {'SAKE': SAKE, 'VectorSAKE': VectorSAKE}
BEST = 'best.safetensors'
LAST = 'last.safetensors'


def save_checkpoint(path: PathLike, tensors: Dict[str, Tensor],
                    description: Dict[str, Any]) -> None:
    r"""Writes a checkpoint, completely or not at all. The versions of all that
    takes part are added to the description.
    """
    description = dict(
        description, format=FORMAT, versions={
            'torch_sake': __version__,
            'torch': torch.__version__,
            'torch_geometric': torch_geometric.__version__,
            'python': platform.python_version(),
        })
    tensors = {
        key: value.detach().cpu().contiguous().clone()
        for key, value in tensors.items()
    }
    content = safetensors.torch.save(
        tensors, metadata={'torch_sake': json.dumps(description)})
    with replace_when_complete(path) as temporary:
        # Not by save_file: only its owner could read the file.
        with open(temporary, 'wb') as file:
            file.write(content)


def load_checkpoint(
        path: PathLike) -> Tuple[Dict[str, Tensor], Dict[str, Any]]:
    r"""Returns the tensors and the description of a checkpoint.

    Args:
        path (str or os.PathLike): The file, or the folder of a training run,
            of which the best checkpoint is taken.

    Raises:
        ValueError: If there is none, or it was written by a version of this
            package that this one does not understand.
    """
    path = local_path('checkpoint', path)
    if osp.isdir(path):
        path = osp.join(path, BEST)
    if not osp.isfile(path):
        raise ValueError(f"There is no checkpoint '{path}'")
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"'{path}' is not a complete safetensors file "
                         f"({error})") from error
    if 'torch_sake' not in metadata:
        raise ValueError(f"'{path}' is not a checkpoint of torch_sake")
    description = json.loads(metadata['torch_sake'])
    if description.get('format') != FORMAT:
        raise ValueError(
            f"'{path}' must be a checkpoint of format {FORMAT} (got format "
            f"{description.get('format')}, written by torch_sake "
            f"{description.get('versions', {}).get('torch_sake')})")
    return tensors, description


def folder_of(path: PathLike) -> str:
    r"""Returns the folder of a training run, given itself or one of its
    checkpoints.
    """
    return os.fspath(path) if osp.isdir(path) else osp.dirname(path)


def load_potential(path: PathLike) -> Potential:
    r"""Returns the trained :class:`~torch_sake.Potential` of a checkpoint.

    Args:
        path (str or os.PathLike): The file, or the folder of a training run.

    Raises:
        ValueError: See :func:`load_checkpoint`.
    """
    tensors, description = load_checkpoint(path)
    return build_potential(tensors, description)


def load_property(path: PathLike) -> Property:
    r"""Returns the trained :class:`~torch_sake.Property` of a checkpoint.

    Args:
        path (str or os.PathLike): The file, or the folder of a training run.

    Raises:
        ValueError: See :func:`load_checkpoint`.
    """
    tensors, description = load_checkpoint(path)
    check_kind(description, 'property')
    return build_predictor(tensors, description)


def load_checkpoints(
    paths: Union[PathLike, Sequence[PathLike]]
) -> Tuple[Union[Potential, Ensemble], Dict[str, str], List[int]]:
    r"""Returns the potential of a checkpoint or the ensemble of several, in
    the highest precision among them, their units, and the elements that all of
    them were trained on.

    Raises:
        TypeError, ValueError: If these are no paths, or checkpoints do not fit
            together.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not isinstance(paths, (list, tuple)) or not paths:
        raise TypeError(f"'potential' must be a Potential, an Ensemble or the "
                        f"paths of checkpoints (got {type(paths)})")
    loaded = [load_checkpoint(path) for path in paths]
    potentials = [build_potential(*parts) for parts in loaded]
    descriptions = [description for _, description in loaded]
    units = descriptions[0]['units']
    for path, description in zip(paths, descriptions):
        if description['units'] != units:
            raise ValueError(f"'{path}' must have the units of the first "
                             f"checkpoint, {units} "
                             f"(got {description['units']})")
    trained = [description['elements'] for description in descriptions]
    elements = sorted(set.intersection(*map(set, trained)))
    if not elements:
        raise ValueError(f"Checkpoints must have elements in common (got "
                         f"{dict(zip(map(str, paths), trained))})")
    if len(paths) == 1:
        return potentials[0], units, elements
    # Members are called with the same numbers: those of the most exact one.
    dtypes = {parameter.dtype for potential in potentials
              for parameter in potential.parameters()}
    dtype = max(dtypes, key=lambda dtype: torch.finfo(dtype).bits)
    ensemble = Ensemble([potential.to(dtype) for potential in potentials])
    return ensemble, units, elements


def build_potential(tensors: Dict[str, Tensor],
                    description: Dict[str, Any]) -> Potential:
    r"""Returns the potential of the tensors called :obj:`"potential.*"`."""
    check_kind(description, 'potential')
    return build_predictor(tensors, description)


def check_kind(description: Dict[str, Any], *expected: str) -> None:
    kind = description.get('kind', 'potential')
    if kind not in expected:
        raise ValueError(f"The checkpoint must be of a "
                         f"{' or a '.join(expected)} (got one of kind "
                         f"{kind!r})")


def build_predictor(tensors: Dict[str, Tensor], description: Dict[str, Any]
                    ) -> Union[Potential, Property]:
    r"""Returns the potential or the property of the tensors called
    :obj:`"potential.*"`.
    """
    check_kind(description, 'potential', 'property')
    state_dict = {
        key[len('potential.'):]: value
        for key, value in tensors.items() if key.startswith('potential.')
    }
    if description['model'] is None:
        raise ValueError("The checkpoint must be of a model of torch_sake "
                         "(got the parameters of another one)")
    model = MODELS[description['model']['name']]
    potential = assemble(model(**description['model']['arguments']),
                         state_dict.get('atomic_energies'), description)
    potential.to(state_dict['model.embedding.weight'].dtype)
    potential.load_state_dict(state_dict)
    return potential.eval()


def assemble(model: torch.nn.Module, references: Optional[Tensor],
             description: Dict[str, Any]) -> Union[Potential, Property]:
    r"""Returns the potential or the property around a model, as a description
    has it.
    """
    if description.get('kind') == 'property':
        return Property(model, description['energy_scale'], references,
                        description['readout'], description['label'])
    prior = description.get('prior')
    return Potential(model, description['energy_scale'], references,
                     None if prior is None else ZBLRepulsion(**prior))
