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
    return re.sub(  # browsers ignore this attribute
        r'<mi mathvariant="bold-italic">&#x(\w+);</mi>',
        lambda letter: f'<mi>{bold(chr(int(letter[1], 16)))}</mi>', mathml)


def bold(letter):
    """Returns a lower case Greek letter in bold italics."""
    return unicodedata.lookup('MATHEMATICAL BOLD ITALIC ' + {
        'ϕ': 'PHI SYMBOL', 'ϵ': 'EPSILON SYMBOL'}.get(
            letter, unicodedata.name(letter).replace('GREEK ', '').replace(
                'LETTER ', '')))


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
