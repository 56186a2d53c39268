from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch_sake.utils.elements import check_atomic_energies
from torch_sake.utils.plain_checks import require


@dataclass(kw_only=True)
class ReferencesConfig:
    r"""Where the energies of the elements come from.

    Args:
        atomic_energies: Energies of isolated atoms. 'fit' fits those of the
            elements to the training frames by least squares; 'isolated' takes
            them from the frames of one atom that is not periodic, or whose
            'config_type' is 'IsolatedAtom', which are never trained on; or
            they are given, such as '{H: -13.6, O: -2041.8}', in the unit of
            the energies that are trained on. Unless fitted, they are exactly
            what the potential says of an isolated atom.
    """
    if TYPE_CHECKING:  # of the run
        refit: bool
    atomic_energies: Annotated[str | dict[str | int, float],
                               check_atomic_energies] = 'fit'

    def check_references(self) -> None:
        r"""Raises an error if settings contradict each other."""
        require(self.atomic_energies == 'fit' or not self.refit,
                f"'refit' must not be set beside 'atomic_energies' "
                f"(got {self.atomic_energies!r})")
