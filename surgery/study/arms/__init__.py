"""What a study leaves out: parts, the arms made of them, and the spaces they are in."""

from surgery.study.arms._arm import BASE as BASE
from surgery.study.arms._arm import Arm as Arm
from surgery.study.arms._code import code_hash as code_hash
from surgery.study.arms._factors import Factors as Factors
from surgery.study.arms._factors import applies as applies
from surgery.study.arms._features import Features as Features
from surgery.study.arms._layers import Layers as Layers
from surgery.study.arms._models import Models as Models
from surgery.study.arms._named import distinctly_named as distinctly_named
from surgery.study.arms._part import CustomModel as CustomModel
from surgery.study.arms._part import FactorPart as FactorPart
from surgery.study.arms._part import FeaturePart as FeaturePart
from surgery.study.arms._part import Hypothesis as Hypothesis
from surgery.study.arms._part import LayerPart as LayerPart
from surgery.study.arms._part import NeutralFeature as NeutralFeature
from surgery.study.arms._part import Part as Part
from surgery.study.arms._part import Removal as Removal
from surgery.study.arms._space import AbstractSpace as AbstractSpace
from surgery.study.arms._space import World as World
