"""Sensitivity: how much each component can change before the metric does."""

from surgery.sensitivity._export import bits_by_module as bits_by_module
from surgery.sensitivity._export import kept_channels as kept_channels
from surgery.sensitivity._perturbation import Perturb as Perturb
from surgery.sensitivity._point import Point as Point
from surgery.sensitivity._result import Sensitivity as Sensitivity
from surgery.sensitivity._score import Method as Method
from surgery.sensitivity._score import Score as Score
from surgery.sensitivity._scores import Scores as Scores
from surgery.sensitivity._sensitivity import sensitivity as sensitivity
from surgery.sensitivity._suggestion import Suggestion as Suggestion
