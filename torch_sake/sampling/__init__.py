r"""Structures beyond those that are labeled, and their labels."""

from torch_sake.sampling.calculator import check_calculator
from torch_sake.sampling.growth import grow
from torch_sake.sampling.labeling import label
from torch_sake.sampling.structure import Structure

__all__ = ['Structure', 'check_calculator', 'grow', 'label']
