r"""SAKE: spatial attention kinetic networks with E(n)-equivariance, for
PyTorch Geometric.
"""

from typing import TYPE_CHECKING

from torch_sake.utils.lazy import lazy_names
from torch_sake.utils.moved import find_moved_modules
from torch_sake.version import __version__

if TYPE_CHECKING:
    from torch_sake.evaluation.fit_uncertainty import fit_uncertainty
    from torch_sake.models import SAKE, SAKENet, VectorSAKE
    from torch_sake.neighbors import RadiusInteractionGraph, neighbor_list
    from torch_sake.nn import SAKEConv, VectorSAKEConv
    from torch_sake.potentials.bonds import BondEnergy
    from torch_sake.potentials.ensemble import Ensemble
    from torch_sake.potentials.load import (
        load_potential,
        load_property,
        pretrained,
    )
    from torch_sake.potentials.potential import Potential
    from torch_sake.potentials.property import Property
    from torch_sake.potentials.zbl import ZBLRepulsion

__all__ = [
    'BondEnergy',
    'Ensemble',
    'Potential',
    'Property',
    'RadiusInteractionGraph',
    'SAKE',
    'SAKEConv',
    'SAKENet',
    'VectorSAKE',
    'VectorSAKEConv',
    'ZBLRepulsion',
    'fit_uncertainty',
    'load_potential',
    'load_property',
    'neighbor_list',
    'pretrained',
    '__version__',
]

__getattr__, __dir__ = lazy_names(__name__, {
    'BondEnergy': 'potentials.bonds',
    'Ensemble': 'potentials.ensemble',
    'Potential': 'potentials.potential',
    'Property': 'potentials.property',
    'RadiusInteractionGraph': 'neighbors',
    'SAKE': 'models',
    'SAKEConv': 'nn',
    'SAKENet': 'models',
    'VectorSAKE': 'models',
    'VectorSAKEConv': 'nn',
    'ZBLRepulsion': 'potentials.zbl',
    'fit_uncertainty': 'evaluation.fit_uncertainty',
    'load_potential': 'potentials.load',
    'load_property': 'potentials.load',
    'neighbor_list': 'neighbors',
    'pretrained': 'potentials.load',
})

find_moved_modules()
