"""The demos: models ranked part by part, and studies that train without parts."""

from surgery.demos._demo import run_demo as run_demo
from surgery.demos._digits import SPLITS as SPLITS
from surgery.demos._digits import Split as Split
from surgery.demos._digits import load_digits as load_digits
from surgery.demos._run_synthetic import run_synthetic as run_synthetic
from surgery.demos._run_titanic import run_titanic as run_titanic
from surgery.demos._titanic import load_titanic as load_titanic
