r"""Energies, their derivatives, and how these are compiled."""

import torch_sake.pyg  # noqa: F401
