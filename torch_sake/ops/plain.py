import torch
from torch import Tensor


def plain_operators_needed(tensor: Tensor) -> bool:
    r"""Returns whether a function has to be made of torch's own operators, as
    it is on another device than the CPU, or as a compiler, a transform of
    :obj:`torch.func`, a derivative in forward mode or a batch of gradients
    (:obj:`is_grads_batched`) looks at what they are.
    """
    return (tensor.device.type != 'cpu' or torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()
            or torch._C._functorch.is_legacy_batchedtensor(tensor)
            or torch.autograd.forward_ad._current_level >= 0)
