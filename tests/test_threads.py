"""Objects that several threads share."""

import copy
import pickle
import threading

import numpy
import pytest
import torch

import torch_sake.neighbors.skin as skin
from torch_sake import Ensemble, Potential, VectorSAKE, neighbor_list
from torch_sake.calculators import Evaluator
from torch_sake.neighbors import SkinNeighborList
from torch_sake.utils.thread_lock import ThreadLock

is_close = skin.is_close


def small_potential(**options):
    return Potential(VectorSAKE(hidden_channels=8, num_layers=1, num_rbf=4,
                                cutoff=3.0), **options).double().eval()


def in_the_middle(function, other):
    """Returns a function that has another thread do something else within its
    first call, or begin with it, where it has to wait."""
    thread = threading.Thread(target=other)

    def wrapper(*args, **kwargs):
        if thread.ident is None:
            thread.start()
            thread.join(1.0)
        return function(*args, **kwargs)
    return wrapper, thread


STRUCTURES = [numpy.random.default_rng(seed).uniform(0, 4, (number, 3))
              for seed, number in ((0, 7), (1, 11), (2, 7))]


@pytest.mark.parametrize('second', [1, 2])
def test_skin_list(monkeypatch, second):
    pos = [torch.from_numpy(value) for value in STRUCTURES]
    neighbors, found = SkinNeighborList(2.0, 0.5), {}

    def find(number):
        found[number] = neighbors(pos[number])[0]

    # Between a search and the choice from what it has found:
    wrapper, thread = in_the_middle(is_close, lambda: find(second))
    monkeypatch.setattr(skin, 'is_close', wrapper)
    find(0)
    thread.join()
    for number in (0, second):
        assert found[number].equal(neighbor_list(pos[number], 2.0)[0])


@pytest.mark.parametrize('kind', ['potential', 'ensemble'])
@pytest.mark.parametrize('what', ['energies', 'energies of atoms'])
def test_evaluator(monkeypatch, kind, what):
    torch.manual_seed(0)
    potential = small_potential()
    if kind == 'ensemble':
        potential = Ensemble([potential, small_potential()])
    evaluator, found = Evaluator(potential), {}

    def evaluate(number, evaluator=evaluator):
        pos = STRUCTURES[number]
        numbers = numpy.full(len(pos), 6)
        if what == 'energies':
            found[number] = evaluator(numbers, pos).forces
        else:
            found[number] = evaluator.site_energies(numbers, pos)
        return found[number]

    expected = [evaluate(number, Evaluator(potential)) for number in range(3)]
    wrapper, thread = in_the_middle(is_close, lambda: evaluate(2))
    monkeypatch.setattr(skin, 'is_close', wrapper)
    evaluate(0)
    thread.join()
    for number in (0, 2):
        assert numpy.allclose(found[number], expected[number], atol=1e-12)


@pytest.mark.parametrize('moment', ['before', 'after'])
def test_calculator(monkeypatch, moment):
    """The structure, and the results, are those of another thread before or
    after the computation."""
    ase = pytest.importorskip('ase')
    from ase.calculators.calculator import Calculator

    from torch_sake.calculators import SAKECalculator
    potential = small_potential()
    structures = [ase.Atoms(f'C{len(pos)}', pos) for pos in STRUCTURES]
    expected = []
    for atoms in structures:
        atoms.calc = SAKECalculator(potential)
        expected.append(atoms.get_forces())
    shared, found = SAKECalculator(potential), {}

    def evaluate(number):
        atoms = structures[number].copy()
        atoms.calc = shared
        found[number] = atoms.get_forces()

    kind = Calculator if moment == 'before' else SAKECalculator
    first = kind.calculate
    wait, thread = in_the_middle(lambda: None, lambda: evaluate(1))

    def calculate(self, *args, **kwargs):
        first(self, *args, **kwargs)
        wait()

    monkeypatch.setattr(kind, 'calculate', calculate)
    evaluate(0)
    thread.join()
    for number in (0, 1):
        assert numpy.allclose(found[number], expected[number], atol=1e-12)


def test_many_threads():
    potential = small_potential()
    evaluator = Evaluator(potential)
    expected = [Evaluator(potential)(numpy.full(len(pos), 6), pos).energy
                for pos in STRUCTURES]
    errors, barrier = [], threading.Barrier(3)

    def work(number):
        pos = STRUCTURES[number]
        barrier.wait()
        for _ in range(30):
            energy = evaluator(numpy.full(len(pos), 6), pos).energy
            errors.append(abs(energy - expected[number]))

    threads = [threading.Thread(target=work, args=(number, ))
               for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 90 and max(errors) < 1e-10


def test_parameters_learn_while_others_are_evaluated(monkeypatch):
    """Compiled functions without gradients freeze the parameters while they
    are called; the compiler has no part in this."""
    import torch_sake.ops.compilation as compilation
    import torch_sake.potentials.derivatives as module
    for place in (compilation, module):
        monkeypatch.setattr(place, 'compile_function', lambda f: f)
    potential = small_potential(recompute=True)
    potential.compile()
    pos = torch.from_numpy(STRUCTURES[0])
    z = torch.full((len(pos), ), 6)
    gradients = []

    def learn():
        energy, forces, _ = potential(z, pos)
        if energy.requires_grad:
            gradients.append(torch.autograd.grad(
                forces.square().sum(), list(potential.parameters()),
                allow_unused=True))

    model, forward = potential.model, type(potential.model).forward
    wait, thread = in_the_middle(lambda: None, learn)

    def slow(self, *args, **kwargs):
        wait()
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model), 'forward', slow)
    with torch.no_grad():
        _, forces, _ = potential(z, pos)
    thread.join()
    assert potential.compiled and len(gradients) == 1
    assert any(gradient is not None and gradient.abs().max() > 0
               for gradient in gradients[0])
    assert all(value.requires_grad for value in potential.parameters())


def test_copies_have_locks_of_their_own():
    evaluator = Evaluator(small_potential())
    pos, numbers = STRUCTURES[0], numpy.full(7, 6)
    expected = evaluator(numbers, pos).energy
    done = []
    for duplicate in (copy.deepcopy(evaluator),
                      pickle.loads(pickle.dumps(evaluator))):
        thread = threading.Thread(target=lambda duplicate=duplicate:
                                  done.append(duplicate(numbers, pos).energy))
        with evaluator._lock, evaluator.neighbors._lock:
            thread.start()
            thread.join(20)
            assert done.pop() == expected
    lock = ThreadLock()
    with lock, lock:  # the same thread again
        pass
