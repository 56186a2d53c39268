r"""Energies, their derivatives, and how these are compiled."""
