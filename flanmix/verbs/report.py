"""`flanmix report RUN_DIR ...`: what a run did, or how several differ, on one page.

    flanmix report runs/a            # writes runs/a/report.html, prints its path
    flanmix report runs/a runs/b     # prints a table, writes ./comparison.html, prints its path

The page needs nothing beside itself.
"""

import argparse
from pathlib import Path

from flanmix.console import print_json
from flanmix.pages import comparison
from flanmix.pages.rendering import write_page
from flanmix.pages.report import write_report
from flanmix.pages.text import comparison_text


def main(args: argparse.Namespace) -> int:
    """Runs the verb: writes the page and prints where it is.

    Raises:
        UserError: a folder holds no run, or the page can't be written.
    """
    runs = [Path(folder) for folder in args.run_dirs]
    html = Path(args.html) if args.html else None
    if len(runs) == 1:
        path = write_report(runs[0], html)
    else:
        compared = comparison.read_comparison(runs)
        path = write_page(comparison.page(compared), html or Path(comparison.FILE))
        if not args.json:
            print(f"{comparison_text(compared)}\n")
    if args.json:
        print_json(str(path))
    else:
        print(path)
    return 0
