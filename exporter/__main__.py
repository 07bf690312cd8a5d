"""`python -m exporter`, and the `fleet-exporter` command."""

import sys

from exporter.cli import main as command


def main() -> None:
    """Run the command and leave with its exit code."""
    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
