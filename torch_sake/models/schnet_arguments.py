r"""Arguments that models share with PyG's SchNet, or do not."""

from typing import Any

from torch import Tensor

from torch_sake.models.readout import NUM_ELEMENTS

# Arguments of SchNet, and what they are here:
SCHNET_ARGUMENTS = {
    'num_filters': "'hidden_channels'",
    'num_interactions': "'num_layers'",
    'num_gaussians': "'num_rbf'",
    'max_num_neighbors': "not there, as all within the cutoff are neighbors",
}


def check_no_arguments_of_schnet(kwargs: dict[str, Any]) -> None:
    hints = ', '.join(f"'{name}' is {SCHNET_ARGUMENTS[name]}"
                      for name in kwargs if name in SCHNET_ARGUMENTS)
    if hints:
        raise TypeError(f"Some arguments of SchNet have other names here: "
                        f"{hints}")


def check_atomref(atomref: Tensor | None) -> Tensor | None:
    if atomref is None:
        return None
    if not isinstance(atomref, Tensor):
        raise TypeError(f"'atomref' must be a tensor (got {type(atomref)})")
    if atomref.numel() != NUM_ELEMENTS or atomref.size(0) != NUM_ELEMENTS:
        raise ValueError(f"'atomref' must have shape [{NUM_ELEMENTS}] or "
                         f"[{NUM_ELEMENTS}, 1] (got {list(atomref.shape)})")
    return atomref.detach().view(NUM_ELEMENTS, 1).clone()
