"""MkDocs hooks: the README, the other pages of the root and an API page per folder join the pages of docs/.

Links stay as GitHub wants them (`docs/x.md` in the README, `../README.md` in docs/); the site gets its own form here.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
FOLDERS = {
    "datasets": "Data sets",
    "embedders": "Embedders",
    "partitioners": "Partitioners",
    "augmentations": "Augmentations",
    "backbones": "Backbones",
    "learners": "Learners",
    "fewshot": "Episodes, training, evaluation",
    "inference": "Inference",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that docs/ does not hold."""
    for name, target in ROOT_PAGES.items():
        files.append(File.generated(config, target, content=_links_of_the_site((ROOT / name).read_text())))
    for folder, title in FOLDERS.items():
        files.append(File.generated(config, f"api/{folder}.md", content=_api_page(folder, title)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turns links out of docs/ into links to the pages made of the root's files."""
    for name, target in ROOT_PAGES.items():
        markdown = markdown.replace(f"](../{name}", f"]({target}")
    return markdown


def _links_of_the_site(text: str) -> str:
    for name, target in ROOT_PAGES.items():
        text = text.replace(f"]({name}", f"]({target}")
    return re.sub(r"\]\(docs/", "](", text)


def _api_page(folder: str, title: str) -> str:
    """The folder's own functions and each of its public modules, in the order of their names."""
    path = ROOT / "cactus_tf" / folder
    modules = [*path.glob("[!_]*.py"), *(init.parent for init in path.glob("[!_]*/__init__.py"))]
    names = [folder, *sorted(f"{folder}.{module.stem}" for module in modules)]
    return "\n\n".join([f"# {title}", *(f"::: cactus_tf.{name}" for name in names)]) + "\n"
