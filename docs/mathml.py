"""A Sphinx extension: formulas as MathML.

Browsers show it without a script and without a network.
"""

import re
import unicodedata

from docutils.nodes import SkipNode
from latex2mathml.converter import convert


def to_mathml(tex, display='inline'):
    """Returns the MathML of a formula in TeX."""
    mathml = convert(tex, display=display)
    mathml = re.sub(  # the letters of a name belong together
        r'(?:<mi mathvariant="normal">\w</mi>){2,}',
        lambda name: '<mi>{}</mi>'.format(
            ''.join(re.findall(r'>(\w)<', name[0]))), mathml)
    mathml = re.sub(  # the space of 'exp x', which is not there in 'exp(x)'
        r'(<mi>(?:exp|log|max|min|tanh)</mi>)(?=<m(?:i|sub|sup|over)>)',
        r'\1<mspace width="0.17em" />', mathml)
    # Browsers ignore these attributes:
    mathml = re.sub(
        r'<mi mathvariant="bold-italic">&#x(\w+);</mi>',
        lambda letter: f'<mi>{bold(chr(int(letter[1], 16)))}</mi>', mathml)
    return re.sub(r'<mn mathvariant="bold">(\d)</mn>',
                  lambda digit: f'<mn>{bold(digit[1])}</mn>', mathml)


def bold(character):
    """Returns a digit in bold, or a Greek letter in bold italics."""
    if character.isdigit():
        return unicodedata.lookup(
            f'MATHEMATICAL BOLD {unicodedata.name(character)}')
    name = {'ϕ': 'PHI SYMBOL', 'ϵ': 'EPSILON SYMBOL'}.get(
        character, unicodedata.name(character).removeprefix(
            'GREEK ').replace('LETTER ', ''))
    return unicodedata.lookup(f'MATHEMATICAL BOLD ITALIC {name}')


def visit_inline(self, node):
    self.body.append(to_mathml(node.astext()))
    raise SkipNode


def visit_block(self, node):
    for tex in re.split(r'\n\s*\n', node.astext().strip()):
        if '&' in tex and r'\begin' not in tex:  # as Sphinx does for LaTeX
            tex = rf'\begin{{split}} {tex} \end{{split}}'
        self.body.append(f'<div class="math">{to_mathml(tex, "block")}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer(
        'mathml', (visit_inline, None), (visit_block, None))
    return {'parallel_read_safe': True}
