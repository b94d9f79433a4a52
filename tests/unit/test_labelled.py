"""Cells of tables say what column they are of."""

from headgate.api.dashboard.labelled import labelled

HEAD = '<table><thead><tr><th>Name</th><th class="r">Used</th><th><span>Actions</span></th></tr>'


def test_every_cell_has_the_header_of_its_column() -> None:
    page = (
        f'{HEAD}</thead><tbody>\n<tr><td>a</td><td class="r">1</td><td>x</td></tr>\n'
        '<tr class="changed"><td></td><td class="r">2</td><td></td></tr>\n</tbody></table>'
    )
    assert labelled(page) == (
        f'{HEAD}</thead><tbody>\n<tr><td data-label="Name">a</td>'
        '<td data-label="Used" class="r">1</td><td>x</td></tr>\n'
        '<tr class="changed"><td data-label="Name"></td><td data-label="Used" class="r">2</td>'
        "<td></td></tr>\n</tbody></table>"
    )


def test_a_sentence_in_place_of_a_row_has_none() -> None:
    page = f'{HEAD}</thead><tbody><tr><td colspan="3">Nobody is there.</td></tr></tbody></table>'
    assert labelled(page) == page


def test_each_table_has_its_own_headers() -> None:
    one = "<table><thead><tr><th>{0}</th></tr></thead><tbody><tr><td{1}>1</td></tr></tbody></table>"
    page = one.format("A", "") + "<p>and</p>" + one.format("B", "")
    written = [' data-label="A"', ' data-label="B"']
    assert labelled(page) == one.format("A", written[0]) + "<p>and</p>" + one.format(
        "B", written[1]
    )
