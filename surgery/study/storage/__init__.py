"""What a study remembers: one SQLite database, written by one process at a time."""

from surgery.study.storage._locked import locked as locked
from surgery.study.storage._sqlite import Storage as Storage
