r"""Assertions of what a model of positions has to fulfil. They serve this
package's own tests and are made to be run on models of your own, in float64:

.. code-block:: python

    from torch_sake import Potential
    from torch_sake.testing import (assert_batch_independent,
                                    assert_equivariant_forces,
                                    assert_extensive,
                                    assert_forces_match_energy,
                                    assert_smooth_at_cutoff,
                                    assert_stress_matches_energy)

    potential = Potential(MyModel(cutoff=5.0).double())
    assert_equivariant_forces(potential, z, pos)
    assert_forces_match_energy(potential, z, pos)
    assert_batch_independent(potential, [(z, pos), (other_z, other_pos)])
    assert_extensive(potential, z, pos, other_z, other_pos)
    assert_smooth_at_cutoff(potential, z, pos, cutoff=5.0)
    assert_stress_matches_energy(potential, z, pos, cell)  # if periodic

Others look at what a trained potential says where few data are:

.. code-block:: python

    from ase.build import molecule
    from torch_sake.testing import (assert_bonds_hold, assert_dissociates,
                                    assert_repulsive, assert_smooth_scan,
                                    assert_stable_dynamics)

    ethanol = molecule('CH3CH2OH')
    assert_repulsive(potential, ethanol)
    assert_bonds_hold(potential, ethanol)
    assert_dissociates(potential, ethanol)
    assert_smooth_scan(potential, ethanol, [0, 1, 2, 3])
    assert_stable_dynamics(potential, ethanol, temperature=1000)
"""

from torch_sake.testing.batches import assert_batch_independent
from torch_sake.testing.bonds import (
    assert_bonds_hold,
    assert_dissociates,
    assert_repulsive,
)
from torch_sake.testing.derivatives import (
    assert_forces_match_energy,
    assert_stress_matches_energy,
)
from torch_sake.testing.dynamics import assert_stable_dynamics
from torch_sake.testing.equivariance import (
    assert_equivariant,
    assert_equivariant_forces,
    random_orthogonal,
)
from torch_sake.testing.extensivity import assert_extensive
from torch_sake.testing.scans import assert_smooth_scan
from torch_sake.testing.smoothness import assert_smooth_at_cutoff

__all__ = [
    'assert_batch_independent', 'assert_bonds_hold', 'assert_dissociates',
    'assert_equivariant', 'assert_equivariant_forces', 'assert_extensive',
    'assert_forces_match_energy', 'assert_repulsive',
    'assert_smooth_at_cutoff', 'assert_smooth_scan', 'assert_stable_dynamics',
    'assert_stress_matches_energy', 'random_orthogonal',
]
