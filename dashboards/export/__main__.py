"""`python -m dashboards.export`: writes the board pack of a build; started by the CLI and the page."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from dashboards.settings import Settings
from dashboards.small_files import write_whole


def main() -> int:
    """Write board_pack_<build>_<audience>.pdf and .pptx and print their names; 1 on a problem."""
    settings = Settings()
    asked = argparse.ArgumentParser(prog="board-pack")
    asked.add_argument("--published", type=Path, default=settings.published_folder)
    asked.add_argument("--audience", default=settings.audience)
    asked.add_argument("--build", default="")
    asked.add_argument("--to", type=Path, required=True)
    chosen = asked.parse_args()
    # Streamlit warns, when a cached query is made and asked, that no page is open: so it is here.
    logging.disable(logging.WARNING)
    from dashboards.data.published import PublishedFilesBroken, stored_build
    from dashboards.export import pack, pdf, slides

    try:
        build = stored_build(chosen.published, chosen.audience, chosen.build)
        made = pack.make(build, chosen.audience)
        files = {"pdf": pdf.write(made), "pptx": slides.write(made)}
    except (PublishedFilesBroken, pdf.MissingLibrary) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    chosen.to.mkdir(mode=0o700, parents=True, exist_ok=True)
    for ending, data in files.items():
        path = chosen.to / f"board_pack_{build.build_id}_{chosen.audience}.{ending}"
        write_whole(path, data)
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
