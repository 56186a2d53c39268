r"""Energies, their derivatives, and how these are compiled."""

import torch_sake.utils.pyg  # noqa: F401
