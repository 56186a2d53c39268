r"""The look at labels, by the name that it is known by."""

from torch_sake.inspection.look import look_at

__all__ = ['look_at']
