"""Builds the documentation's site strictly: `python -m tools.site [FOLDER]` (build/site).

mkdocs loads this file as a hook, too. The pages keep the places they have in the repository, so that a link works there
and in the site alike; only the runbooks are published at `runbooks/`, for alerts that lead here. Exit 1 for a page that
is in no menu, a link or an anchor that leads nowhere, and for anything that a page would load from another host.
"""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files

from tools.generated import ROOT
from tools.project import PROJECT

FOLDER = ROOT / "build" / "site"
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "chart/README.md",
    "deploy/terraform/README.md",
    "docs/*.md",
)
RUNBOOKS = "alerts/runbooks/*.md"
MENU_OF_RUNBOOKS = "Runbooks"
ICON = "exporter/web/static/icon.svg"

_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)[^)]*\)")
_LOADED = (
    (
        "*.html",
        re.compile(
            r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|data)=[\"']?(?:https?:)?//[^>]*>"
        ),
    ),
    ("*.html", re.compile(r"<link\b(?![^>]*rel=[\"']?(?:canonical|prev|next))[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>")),
    ("*.css", re.compile(r"@import[^;]*//[^;]*|url\([\"']?(?:https?:)?//[^)]*\)")),
)
"""What a browser fetches unasked. Scripts are bound by the pages' Content-Security-Policy (site_theme/main.html)."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Say where the site is published, and put the runbooks into their menu."""
    config.site_url = PROJECT.documentation
    config.site_description = PROJECT.description
    config.site_author = ", ".join(name for name, _ in PROJECT.maintainers)
    config.copyright = f'Apache-2.0 · not affiliated with Matillion · <a href="{PROJECT.source}">Source</a>'
    config.nav = _filled(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace what mkdocs found below docs by the pages at their places in the repository, and what they link to."""
    for found in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(found)
    pages = sorted(path for pattern in (*PAGES, RUNBOOKS) for path in ROOT.glob(pattern))
    for place in (path.relative_to(ROOT).as_posix() for path in (*pages, *sorted(_linked(pages)))):
        file = File(place, str(ROOT), config.site_dir, config.use_directory_urls)
        if place.startswith("alerts/runbooks/"):
            file.dest_uri = f"runbooks/{Path(place).stem}/index.html"
        files.append(file)
    icon = File(Path(ICON).name, str((ROOT / ICON).parent), config.site_dir, config.use_directory_urls)
    icon.dest_uri = f"assets/{Path(ICON).name}"
    files.append(icon)
    return files


def loads_from_elsewhere(folder: Path) -> Iterator[str]:
    """Yield what pages of a built site would load from another host, each with its file."""
    for pattern, loaded in _LOADED:
        for file in sorted(folder.rglob(pattern)):
            for match in loaded.finditer(file.read_text(encoding="utf-8")):
                yield f"{file.relative_to(folder)}: {match[0][:200]}"


def main(arguments: Sequence[str]) -> int:
    """Build the site, or say what is wrong with it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    folder = Path(arguments[0]) if arguments else FOLDER
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    try:
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    except Abort as error:
        sys.stderr.write(f"the site cannot be built: {error}\n")
        return 1
    elsewhere = list(loads_from_elsewhere(folder))
    sys.stderr.writelines(f"loaded from another host: {line}\n" for line in elsewhere)
    return 1 if elsewhere else 0


def _linked(pages: Sequence[Path]) -> set[Path]:
    """Return the files of the repository that pages link to and that are no pages themselves."""
    targets = {
        (page.parent / target).resolve() for page in pages for target in _LINK.findall(page.read_text(encoding="utf-8"))
    }
    return {target for target in targets if target.is_file() and target.suffix != ".md"}


def _filled(nav: Any) -> Any:
    """Return the menu with the runbooks below their heading, without the word that all of their names begin with."""
    if isinstance(nav, list):
        return [_filled(entry) for entry in nav]
    if isinstance(nav, dict):
        pages = [
            {path.stem.removeprefix("Matillion"): path.relative_to(ROOT).as_posix()}
            for path in sorted(ROOT.glob(RUNBOOKS))
        ]
        return {key: pages if key == MENU_OF_RUNBOOKS else _filled(entry) for key, entry in nav.items()}
    return nav


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
