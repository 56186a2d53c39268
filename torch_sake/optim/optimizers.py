import torch
from torch.nn import Linear
from torch.optim import Adam, Optimizer

from torch_sake.optim.muon import Muon


def build_optimizers(module: torch.nn.Module, name: str,
                     learning_rate: float) -> list[Optimizer]:
    r"""Returns the optimizers that share the parameters of a module:
    :obj:`"adam"` is Adam for all of them, :obj:`"muon"` is
    :class:`~torch_sake.optim.muon.Muon` for the matrices of linear maps and
    Adam for all others: biases, embeddings, radial functions, and maps from or
    to one number.
    """
    of_muon = {id(child.weight) for child in module.modules()
               if name == 'muon' and isinstance(child, Linear)
               and min(child.weight.shape) > 1}
    matrices, others = [], []
    for parameter in module.parameters():
        if parameter.requires_grad:
            part = matrices if id(parameter) in of_muon else others
            part.append(parameter)
    optimizers: list[Optimizer] = []
    if matrices:
        optimizers.append(Muon(matrices, learning_rate))
    if others:
        optimizers.append(Adam(others, learning_rate, fused=True))
    return optimizers
