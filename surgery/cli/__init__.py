"""The command line: `surgery components`, `surgery rank`, `surgery demo`."""

from surgery.cli._app import main as main
