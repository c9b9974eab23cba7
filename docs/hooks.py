"""What mkdocs does besides: generated pages, files of the repository outside docs, the order of pages, links.

Links in Markdown are those of the repository, so that they work where the files are read without the site.
"""

import os
import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import generated_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
log = get_plugin_logger("site")
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages and those of the repository, then put the pages in order."""
    for place, markdown in generated_pages.pages().items():
        files.append(File.generated(config, place, content=markdown))
    beside = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
    results = [path for kind in ("*.md", "*.png") for path in sorted((ROOT / "results").rglob(kind))]
    for name in [*beside, *(path.relative_to(ROOT).as_posix() for path in results)]:
        files.append(_of_repository(name, config))
    for file in files:
        if file.src_uri.endswith(".ipynb"):  # beside a page of the same name
            for place in ("dest_uri", "abs_dest_path", "url"):
                setattr(file, place, getattr(file, place).replace(".html", "_notebook.html"))
    left = [file.src_uri for file in files.documentation_pages() if not fnmatch(file.src_uri, "*/table.md")]
    config.nav = _expanded(config.nav, left)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links to files of the repository links within the site; of what is not there only the text is left."""
    source = page.file.abs_src_path
    if source is None or not source.endswith(".md"):
        return markdown
    here = PurePosixPath(Path(source).relative_to(ROOT).parent.as_posix())

    def replaced(link: re.Match[str]) -> str:
        target = PurePosixPath(os.path.normpath(here / link[3])).as_posix()
        if target.startswith("..") or not (ROOT / target).exists():
            return link[0]  # mkdocs warns of it
        if (ROOT / target / "README.md").is_file():
            target += "/README.md"
        on_site = "index.md" if target == "README.md" else target.removeprefix("docs/")
        if files.get_file_from_path(on_site) is None:
            if not (target.startswith("results/") and (ROOT / target).is_file()):
                log.info("%s: no link to %s, which is not on the site", page.file.src_uri, target)
                return link[2]
            files.append(_of_repository(target, config))
        relative = os.path.relpath(on_site, PurePosixPath(page.file.src_uri).parent)
        return f"{link[1]}[{link[2]}]({relative}{link[4] or ''})"

    return LINK.sub(replaced, markdown)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> None:
    """Warn of what a page would load from elsewhere; links are no such thing."""
    for tag in re.findall(
        r"<(?:script|img|iframe|link rel=.stylesheet.)[^>]*(?:src|href)=.?(?:https?:)?//[^>]*", output
    ):
        log.warning("%s loads from elsewhere: %s", page.file.src_uri, tag)


def _of_repository(name: str, config: MkDocsConfig) -> File:
    return File(name, str(ROOT), config.site_dir, config.use_directory_urls)


def _expanded(entry: Any, left: list[str]) -> Any:
    """A navigation with each pattern replaced by the pages that fit it and are `left`, from where they are taken."""
    if isinstance(entry, str):
        found = [name for name in left if fnmatch(name, entry)]
        left[:] = [name for name in left if name not in found]
        return found
    if isinstance(entry, dict):
        ((title, inside),) = entry.items()
        found = _expanded(inside, left)
        return {title: found} if found else None
    inside = [_expanded(one, left) for one in entry]
    return [one for part in inside if part for one in (part if isinstance(part, list) else [part])]
