"""Operations in effect on a model: applied in place, undone exactly."""

from surgery.ablation._ablate import Ablation as Ablation
from surgery.ablation._ablate import ablate as ablate
from surgery.ablation._ablate import freeze as freeze
from surgery.ablation._effects import ComponentEffect as ComponentEffect
from surgery.ablation._effects import Effects as Effects
from surgery.ablation._example import example_call as example_call
from surgery.ablation._gather import Observation as Observation
from surgery.ablation._gather import gather as gather
from surgery.ablation._gather import observing as observing
from surgery.ablation._variant import Variant as Variant
