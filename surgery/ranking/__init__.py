"""Rankings: what every component is worth, measured and judged."""

from surgery.ranking._rank import rank as rank
from surgery.ranking._result import Ranking as Ranking
from surgery.ranking._row import Row as Row
