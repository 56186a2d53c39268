import pytest

from torch_sake.utils.durations import (
    about,
    check_duration,
    clock,
    seconds_of,
)


@pytest.mark.parametrize('text, seconds', [
    ('00:20:00', 1200), ('0:00:01', 1), ('36:00:00', 129600),
    ('100:00:00', 360000), ('01:02:03:04', 93784), ('7:00:00:00', 604800)])
def test_durations(text, seconds):
    assert check_duration('max_time', text) == text
    assert seconds_of(text) == seconds


@pytest.mark.parametrize('text', [
    '', '20', '20:00', '00:60:00', '00:00:60', '00:00:00', '1:24:00:00',
    '-1:00:00', '00:20:00 ', '00:20:0', 'a:bb:cc', '00:20:00:00:00',
    '0٠:20:00', '1:2:3', '00:20:00.5', '9999999:00:00'])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="'max_time' must be a time as HH:MM"
                       ":SS or DD:HH:MM:SS, such as .* .got '"):
        check_duration('max_time', text)


@pytest.mark.parametrize('seconds, text', [
    (4e-4, '0.4 ms'), (0.0243, '24 ms'), (0.0997, '100 ms'), (0.243, '243 ms'),
    (0.9996, '1 s'), (1.34, '1.3 s'), (9.97, '10 s'), (45.4, '45 s'),
    (119, '119 s'), (120, '2 min'), (1234, '21 min'), (7300, '2 h'),
    (72000, '20 h'), (216000, '2.5 days')])
def test_durations_in_words(seconds, text):
    assert about(seconds) == text


def test_durations_on_a_clock():
    assert [clock(seconds) for seconds in (0.4, 59.6, 3725, 360000)] == [
        '00:00:00', '00:01:00', '01:02:05', '100:00:00']
