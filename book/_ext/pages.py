"""A notebook's page ends with the parameters that it ran with, links that run it elsewhere, and its code, folded."""

import ast
import json
from pathlib import Path
from urllib.parse import quote, urlsplit

from docutils import nodes
from sphinx.errors import ConfigError
from sphinx.transforms import SphinxTransform


def launch_links(repository, notebook, branch="main"):
    """Addresses that open a notebook of a repository on GitHub, by the name of the service; none without a repository.

    Raises
    ------
    ConfigError
        If the repository is no address like https://github.com/owner/name.
    """
    if not repository:
        return {}
    address = urlsplit(repository.removesuffix(".git").rstrip("/"))
    if (address.scheme, address.netloc, address.path.count("/")) != ("https", "github.com", 2):
        raise ConfigError(f"launch_repository is {repository!r}; give https://github.com/OWNER/NAME, or nothing")
    path = f"notebooks/{notebook}.ipynb"
    return {
        "Binder": f"https://mybinder.org/v2/gh{address.path}/{branch}?labpath={quote(path, safe='')}",
        "Colab": f"https://colab.research.google.com/github{address.path}/blob/{branch}/{path}",
    }


def parameters(notebook):
    """What an executed notebook ran with: its own parameters, then papermill's; None isn't given."""
    own = next(cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ()))
    given = {
        each.targets[0].id: ast.literal_eval(each.value)
        for each in ast.parse("".join(own["source"])).body
        if isinstance(each, ast.Assign)
    } | notebook["metadata"].get("papermill", {}).get("parameters", {})
    return {name: value for name, value in given.items() if value is not None}


class Code(SphinxTransform):
    """Move the folded code of all cells to the end of the page."""

    default_priority = 510

    def apply(self):
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            return
        code = nodes.container("", nb_element="cell_code_source", classes=["cell_input"])
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") != "cell_code":
                continue
            if "tag_injected-parameters" in cell["classes"]:
                cell.parent.remove(cell)
            elif cell.get("hide_mode") == "input":
                shown = cell.children[0]
                cell.remove(shown)
                code += shown.children
                if not cell.children:
                    cell.parent.remove(cell)
        told = parameters(json.loads(path.read_text(encoding="utf-8")))
        links = launch_links(self.config.launch_repository, path.stem)
        opened = "".join(f', <a href="{link}">open in {service}</a>' for service, link in links.items())
        with_ = ", ".join(f"<code>{name} = {value!r}</code>" for name, value in told.items())
        end = nodes.section("", nodes.title("", "Code"), ids=["code"], names=["code"])
        end += nodes.paragraph("", "", nodes.raw("", f"This page ran with {with_}{opened}.", format="html"))
        prompts = {"prompt_show": "Show", "prompt_hide": "Hide"}
        end += nodes.container("", code, nb_element="cell_code", hide_mode="input", classes=["cell"], **prompts)
        self.document.note_implicit_target(end)
        self.document[-1] += end


def setup(app):
    app.add_config_value("launch_repository", "", "env")
    app.add_transform(Code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
