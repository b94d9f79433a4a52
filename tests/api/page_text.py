"""What stands on a page of the dashboard, as tests read it."""

import re
from html import unescape


def rows(text: str, label: str) -> list[list[str]]:
    """The cells of a table, without what is drawn."""
    table = text.partition(f'aria-label="{label}"')[2].partition("</table>")[0]
    return [
        [unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)]
        for row in re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.S)
    ]


def only(pattern: str, text: str) -> str:
    """Return what the first group of a pattern finds; it has to be there."""
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, (pattern, text)
    return unescape(found[1])


def problem(text: str) -> str:
    """Return what the page says is wrong with the form."""
    return only(r'<p class="bad" role="alert">(.*?)</p>', text)
