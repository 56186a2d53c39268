import torch
from torch.nn import Linear
from torch.optim import Adam, Optimizer

from torch_sake.optim.muon import Muon

OPTIMIZERS = ('adam', 'muon')


def build_optimizers(module: torch.nn.Module, name: str,
                     learning_rate: float) -> list[Optimizer]:
    r"""Returns the optimizers that share the parameters of :obj:`module`.

    :obj:`"adam"` is Adam for all of them. :obj:`"muon"` is
    :class:`~torch_sake.optim.muon.Muon` for the matrices of linear maps,
    whose steps are orthogonal matrices scaled to the size of a step of Adam,
    and Adam for all others: biases, embeddings, radial functions, and maps
    from or to one number.

    Args:
        module (torch.nn.Module): The module.
        name (str): :obj:`"adam"` or :obj:`"muon"`.
        learning_rate (float): The learning rate.
    """
    parameters = [parameter for parameter in module.parameters()
                  if parameter.requires_grad]
    if name == 'adam':
        return [Adam(parameters, learning_rate, fused=True)]
    of_maps = {id(child.weight) for child in module.modules()
               if isinstance(child, Linear) and min(child.weight.shape) > 1}
    matrices = [parameter for parameter in parameters
                if id(parameter) in of_maps]
    others = [parameter for parameter in parameters
              if id(parameter) not in of_maps]
    optimizers = []
    if matrices:
        optimizers.append(Muon(matrices, learning_rate))
    if others:
        optimizers.append(Adam(others, learning_rate, fused=True))
    return optimizers
