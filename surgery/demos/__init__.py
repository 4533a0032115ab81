"""The demo: two small models, trained on real images, ranked part by part."""

from surgery.demos._demo import run_demo as run_demo
from surgery.demos._digits import SPLITS as SPLITS
from surgery.demos._digits import Split as Split
from surgery.demos._digits import load_digits as load_digits
