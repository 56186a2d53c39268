"""The state that a simulation goes on from."""

import os
import warnings

import numpy
import pytest

pytest.importorskip('ase')
from torch_sake.simulation import MDConfig, Simulation
from torch_sake.simulation.restart import RESTART, read_state, save_state


@pytest.fixture
def settings(checkpoint, molecule_file, tmp_path):
    settings = dict(checkpoint=checkpoint('run'), structure=molecule_file,
                    out=str(tmp_path / 'md'), num_steps=2, interval=1)
    Simulation(MDConfig(**settings)).run()
    return dict(settings, resume=True)


def test_damage(settings):
    """Every byte of the archive means something, or nothing at all."""
    path = os.path.join(settings['out'], RESTART)
    content, expected = open(path, 'rb').read(), read_state(path)
    num_refused = 0
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        open(path, 'wb').write(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('error')
                state = read_state(path)
        except ValueError as error:
            assert path in str(error) and '\n' not in str(error)
            num_refused += 1
            continue
        assert state.keys() == expected.keys()
        assert all(numpy.array_equal(value, expected[name])
                   for name, value in state.items())
    assert num_refused > len(content) // 14


def test_names_are_meant(settings):
    path = os.path.join(settings['out'], RESTART)
    with numpy.load(path) as archive:
        arrays = dict(archive)
    swapped = dict(arrays, positions=arrays['momenta'],
                   momenta=arrays['positions'])
    numpy.savez(path, **swapped)
    with pytest.raises(ValueError, match=f"{RESTART}' is damaged"):
        Simulation(MDConfig(**settings))
    numpy.savez(path, **{name: value for name, value in arrays.items()
                         if name != 'pbc'})
    with pytest.raises(ValueError, match=f"{RESTART}' is damaged"):
        Simulation(MDConfig(**settings))


def test_older_states_go_on_with_one_warning(settings):
    path = os.path.join(settings['out'], RESTART)
    numpy.savez(path, **read_state(path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        simulation = Simulation(MDConfig(**{**settings, 'num_steps': 4}))
    messages = [str(warning.message) for warning in caught
                if RESTART in str(warning.message)]
    assert len(messages) == 1 and 'of an older version' in messages[0]
    simulation.run()
    assert simulation.step == 4


@pytest.mark.parametrize('name, value, match', [
    ('config', '{', 'restart.npz'), ('config', 3, "'config' must be of kind"),
    ('config', '[]', 'restart.npz'), ('rng', '{}', 'restart.npz'),
    ('rng', '{"bit_generator": "PCG64", "state": 3}', 'restart.npz'),
    ('step', -1, "'step' must"), ('step', [1, 2], "'step' must be of kind"),
    ('step', 1.5, "'step' must be of kind"),
    ('numbers', [6.0], "'numbers' must be of kind"),
    ('positions', [[0.0, 0.0]], "'positions' must be of kind"),
    ('momenta', numpy.full((9, 3), numpy.nan), "'momenta' must be finite"),
    ('cell', [0.0], "'cell' must be of kind"),
])
def test_what_a_state_must_hold(name, value, match, settings):
    path = os.path.join(settings['out'], RESTART)
    save_state(path, {**read_state(path), name: value})
    with pytest.raises(ValueError, match=match) as caught:
        Simulation(MDConfig(**settings))
    assert '\n' not in str(caught.value) and path in str(caught.value)


def test_what_to_type_to_go_on(tmp_path):
    from torch_sake.utils.checks import check_same_settings
    settings = {'out': str(tmp_path), 'cutoff': 5.0, 'num_train': 950}
    found = {'out': str(tmp_path), 'cutoff': 5.0, 'num_train': 48}
    with pytest.raises(ValueError, match=r"'num_train' must be 48 \(got 950\);"
                       " repeat its command with '--resume'$"):
        check_same_settings(settings, found, set())
    path = tmp_path / 'config.yaml'
    path.touch()
    with pytest.raises(ValueError, match="repeat its command with '--resume', "
                       f"or give '--config {path} --resume'"):
        check_same_settings(settings, found, set())
    check_same_settings(found, found, set())
