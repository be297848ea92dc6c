"""Notebooks that try to run something in the browser of whoever reads them."""

from __future__ import annotations

import copy
from typing import Any

RUN = "window.ran = (window.ran || []).concat('{name}')"
# Name → the text of a Markdown cell that runs RUN when it is shown, or clicked
FORMS = {
    "a_script": "<script>{run}</script>",
    "an_event": '<img src="x" onerror="{run}">',
    "a_picture_in_svg": '<svg><animate onbegin="{run}" attributeName=x dur=1s></svg>',
    "inside_words": 'It is *clear* <b onmouseover="{run}" class="click">here</b>, since $a<b$.',
    "a_link": '[here](javascript:{link} "click")',
    "a_link_by_entities": "[here](java&#115;cript:{link})",
    "a_link_elsewhere": "[here][1]\n\n[1]: javascript:{link}",
    "an_autolink": "<javascript:{link}>",
    "a_frame": '<iframe srcdoc="<script>parent.{run}</script>"></iframe>',
    "a_frame_from_data": '<object data="data:text/html,<script>parent.{run}</script>"></object>',
    "something_that_opens": '<details open ontoggle="{run}"><summary>Hint</summary>None.</details>',
    "a_block_of_another_language": '```mermaid\n</pre><img src=x onerror="{run}">\n```',
    "in_a_table": '| a | b |\n|---|---|\n| 1 | <img src=x onerror="{run}"> |',
    "in_a_title": '# Answer <img src=x onerror="{run}">',
    "a_form": '<form><button formaction="javascript:{link}">here</button></form>',
    "shown_as_code_first": "```python\nx = 1\n\n[here](javascript:{link})\n```",
    "a_style": '<style onload="{run}">body {{ display: none }}</style>',
    "half_a_tag": '<img src=x onerror="{run}" alt="',
    "many_at_once": "<scr<script>ipt>{run}</scr</script>ipt>",
}
CLICKED = "a, button, .click"


def forms() -> dict[str, str]:
    """The texts of :data:`FORMS`."""
    found = {}
    for name, text in FORMS.items():
        run = RUN.format(name=name)
        found[name] = text.format(run=run, link=run.replace(" ", "%20"))
    return found


def with_forms(notebook: dict[str, Any], answer: str) -> dict[str, Any]:
    """A notebook that tries all of it: in an answer, in cells of its own, in raw text, names, metadata and pictures.

    Args:
        notebook: a submission.
        answer: the id of the cell of a written answer.
    """
    made = copy.deepcopy(notebook)
    for cell in made["cells"]:
        if cell["id"] == answer:
            cell["source"] = "It is <b>this</b>: $a<b$.\n\n" + "\n\n".join(forms().values())
    for number, text in enumerate(forms().values()):
        made["cells"].append({"cell_type": "markdown", "id": f"own-{number}", "metadata": {}, "source": text})
    script = f"<script>{RUN.format(name='another place')}</script>"
    for kind in ({}, {"raw_mimetype": "text/html"}, {"format": "text/html"}):
        made["cells"].append({"cell_type": "raw", "id": f"raw-{len(kind)}", "metadata": kind, "source": script})
    broken = f'"><img src=x onerror="{RUN.format(name="another place")}">'
    attached = {"a.png": {f"image/png{broken}": "AAAA"}, "b.svg": {"image/svg+xml": script}}
    texts = "![a](attachment:a.png) ![b](attachment:b.svg) ![gone](attachment:gone.png)"
    made["cells"].append(
        {"cell_type": "markdown", "id": "own-pictures", "metadata": {}, "attachments": attached, "source": texts}
    )
    shown = {
        "output_type": "display_data",
        "data": {"text/html": script, "application/javascript": "1"},
        "metadata": {},
    }
    made["cells"].append(
        {"cell_type": "code", "id": f"own{broken}", "metadata": {"tags": [broken]}, "source": "1",
         "outputs": [shown], "execution_count": 1}
    )  # fmt: skip
    made["metadata"] = {
        "title": f"</title>{script}",
        "kernelspec": {"name": broken, "display_name": broken, "language": broken},
        "language_info": {"name": broken, "codemirror_mode": broken, "pygments_lexer": broken},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": f"</script>{script}"}},
        "authors": [{"name": script}],
    }
    return made
