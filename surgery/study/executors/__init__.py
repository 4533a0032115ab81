"""Executors: where trials run."""

from surgery.study.executors._base import AbstractExecutor as AbstractExecutor
from surgery.study.executors._base import Done as Done
from surgery.study.executors._inline import InProcess as InProcess
from surgery.study.executors._processes import LocalProcesses as LocalProcesses
