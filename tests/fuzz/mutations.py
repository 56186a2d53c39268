"""Ways to spoil a file, in text, in bytes, or in the arrays of an archive."""

import numpy as np

# What may stand in the place of a number or a word:
TOKENS = ['nan', 'NaN', 'inf', '-inf', '1e308', '1e400', '-1e30', '1e-320',
          '-0', '-0.0', 'T', 'F', 'true', 'yes', '1j', '(1+2j)', '1+2j',
          'text', '"-1.5 eV"', '-1.5eV', '\u0663', '1_0', '0x10', '010',
          '1:30', '99999999999999999999', '3' * 5000, '1e2', '1.0D-3', '-1',
          '0', '119', '1000000000', 'None', 'null', '[1]', '{}', '"', "'",
          '=', '\x00', '\ufeff', '\x1c', '\u2028', '#', ':', '@', '*a', '!!x',
          '<<', 'Xx', 'x' * 3000]


def flip_bits(rng, content):
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(content)


def change_bytes(rng, content):
    content, start = bytearray(content), rng.integers(len(content))
    size = min(rng.integers(1, 9), len(content) - start)
    content[start:start + size] = rng.bytes(size)
    return bytes(content)


def truncate(rng, content):
    return content[:rng.integers(len(content))]


def cut_out(rng, content):
    start, end = sorted(rng.integers(len(content), size=2))
    return content[:start] + content[end:]


def insert_bytes(rng, content):
    at = rng.integers(len(content) + 1)
    return content[:at] + rng.bytes(rng.integers(1, 20)) + content[at:]


def repeat(rng, content):
    return content + content


def garbage(rng, content):
    return rng.bytes(len(content))


BYTES = [flip_bits, flip_bits, change_bytes, truncate, cut_out, insert_bytes,
         repeat, garbage]


def change_token(rng, content):
    """Replaces a word, or a part of one between '=', quotes and colons."""
    import re
    text = content.decode()
    words = list(re.finditer(r'[^\s="\':,\[\]]+', text))
    word = words[rng.integers(len(words))]
    token = TOKENS[rng.integers(len(TOKENS))]
    return (text[:word.start()] + token + text[word.end():]).encode()


def change_number(rng, content):
    import re
    text = content.decode()
    words = list(re.finditer(r'-?\d+(\.\d+)?', text))
    word = words[rng.integers(len(words))]
    token = TOKENS[rng.integers(len(TOKENS))]
    return (text[:word.start()] + token + text[word.end():]).encode()


def _lines(change):
    def mutate(rng, content):
        lines = content.decode().splitlines(keepends=True)
        change(rng, lines)
        return ''.join(lines).encode()
    mutate.__name__ = change.__name__
    return mutate


@_lines
def delete_line(rng, lines):
    del lines[rng.integers(len(lines))]


@_lines
def repeat_line(rng, lines):
    index = rng.integers(len(lines))
    lines.insert(index, lines[index])


@_lines
def swap_lines(rng, lines):
    one, other = rng.integers(len(lines), size=2)
    lines[one], lines[other] = lines[other], lines[one]


@_lines
def insert_line(rng, lines):
    token = TOKENS[rng.integers(len(TOKENS))]
    lines.insert(rng.integers(len(lines) + 1), token + '\n')


@_lines
def swap_columns(rng, lines):
    index = rng.integers(len(lines))
    words = lines[index].split()
    one, other = rng.integers(max(len(words), 1), size=2)
    if words:
        words[one], words[other] = words[other], words[one]
    lines[index] = ' '.join(words) + '\n'


@_lines
def delete_column(rng, lines):
    index = rng.integers(len(lines))
    words = lines[index].split()
    if words:
        del words[rng.integers(len(words))]
    lines[index] = ' '.join(words) + '\n'


@_lines
def repeat_column(rng, lines):
    index = rng.integers(len(lines))
    words = lines[index].split() or ['x']
    words.insert(rng.integers(len(words)), words[rng.integers(len(words))])
    lines[index] = ' '.join(words) + '\n'


def windows_line_ends(rng, content):
    return content.replace(b'\n', b'\r\n')


def byte_order_mark(rng, content):
    return b'\xef\xbb\xbf' + content


def other_encoding(rng, content):
    return content.decode().encode('utf-16')


def other_digits(rng, content):
    """One digit of another script, which int() and float() know, too."""
    text = content.decode()
    places = [i for i, char in enumerate(text) if char in '0123456789']
    at = places[rng.integers(len(places))]
    return (text[:at] + chr(0x660 + int(text[at])) + text[at + 1:]).encode()


TEXT = [*BYTES, *5 * [change_token], *5 * [change_number], delete_line,
        repeat_line, swap_lines, insert_line, swap_columns, delete_column,
        repeat_column, windows_line_ends, byte_order_mark, other_encoding,
        other_digits]


def change_value(rng, arrays, key):
    array = arrays[key].astype(float)
    value = [np.nan, np.inf, 1e308, -1e30, -0.0, 1e-320, 0.5][
        rng.integers(7)]
    if array.size:
        array.flat[rng.integers(array.size)] = value
    arrays[key] = array


def change_type(rng, arrays, key):
    kinds = ['complex128', 'bool', 'U8', 'S8', 'O', 'float32', 'float16',
             'int8', 'uint64', 'M8[s]', 'longdouble', '>f8']
    array, kind = arrays[key], kinds[rng.integers(len(kinds))]
    if kind == 'complex128':
        array = array + 1j
    elif kind == 'M8[s]':
        array = array.astype('int64')
    arrays[key] = array.astype(kind)


def change_shape(rng, arrays, key):
    array = np.atleast_1d(arrays[key])
    arrays[key] = [array[:0], array[..., :0], array[None], array.ravel(),
                   array.T, array[:-1], array[..., None], array[..., 0],
                   np.concatenate([array, array]),
                   np.asfortranarray(array)][rng.integers(10)]


def delete_array(rng, arrays, key):
    del arrays[key]


def empty_array(rng, arrays, key):
    arrays[key] = np.zeros(0)


def number_for_array(rng, arrays, key):
    arrays[key] = np.array(1.0)


def other_arrays(rng, arrays, key):
    arrays[f'{key}2'] = arrays[key]


def change_integer(rng, arrays, key):
    array = arrays[key].copy()
    value = [0, -1, 119, 127, 1000][rng.integers(5)]
    if array.size:
        array.flat[rng.integers(array.size)] = value
    arrays[key] = array


ARRAYS = [change_value, change_value, change_type, change_type, change_type,
          change_shape, change_shape, delete_array, empty_array,
          number_for_array, other_arrays, change_integer]
