"""surgery: know what each part of a PyTorch model does."""

from surgery import errors as errors
from surgery import ops as ops
from surgery import synthetic as synthetic
from surgery._version import __version__ as __version__
from surgery.ablation import Ablation as Ablation
from surgery.ablation import ablate as ablate
from surgery.ablation import freeze as freeze
from surgery.anatomy import Component as Component
from surgery.anatomy import Components as Components
from surgery.anatomy import components as components
from surgery.engine import Engine as Engine
from surgery.excision import Excision as Excision
from surgery.excision import excise as excise
from surgery.ranking import Ranking as Ranking
from surgery.ranking import rank as rank
from surgery.sensitivity import Scores as Scores
from surgery.sensitivity import Sensitivity as Sensitivity
from surgery.sensitivity import sensitivity as sensitivity
from surgery.stats import Evidence as Evidence
from surgery.study import Study as Study
