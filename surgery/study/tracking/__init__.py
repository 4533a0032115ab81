"""Trackers: what shows a study's trials elsewhere while it runs."""

from surgery.study.tracking._base import AbstractTracker as AbstractTracker
from surgery.study.tracking._base import known_trackers as known_trackers
from surgery.study.tracking._base import make_tracker as make_tracker
