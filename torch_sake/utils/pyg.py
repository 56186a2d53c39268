r"""PyG, imported without a warning that is not about what the user does."""

import warnings

# torch-geometric makes a call of which torch warns since 2.14:
with warnings.catch_warnings():
    warnings.filterwarnings('ignore', '.*torch.jit.script', FutureWarning)
    import torch_geometric  # noqa: F401
