import torch


def choose_device(name: str) -> torch.device:
    r"""Returns the device of a name; of :obj:`"auto"` a GPU, if there is one.

    Raises:
        ValueError: If there is no such device.
    """
    num_gpus = torch.cuda.device_count()
    if name == 'auto':
        return torch.device('cuda' if num_gpus > 0 else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"'device' must be 'auto' or the name of a device, "
                         f"such as 'cpu' or 'cuda:0' (got {name!r})"
                         ) from error
    if device.type == 'cuda' and (device.index or 0) >= num_gpus:
        raise ValueError(f"'device' must be one that torch can use, which "
                         f"sees {num_gpus} GPUs here (got {name!r})")
    return device
