"""Tables that are printed as Markdown and kept as CSV, for docs/lab."""

import csv


class Table:
    """Prints a header and rows; with a path, writes them to this file, too."""

    def __init__(self, *header, path=None):
        self.rows, self.path = [], path
        self.add(*header)
        print('|---' * len(header) + '|')

    def add(self, *cells):
        print('| ' + ' | '.join(map(str, cells)) + ' |', flush=True)
        self.rows.append(cells)
        if self.path:
            write_csv(self.rows, self.path)


def write_csv(rows, path):
    with open(path, 'w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows(rows)
