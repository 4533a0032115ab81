"""Features of a dataset of any form: what there are, and data without some."""

from surgery.study.columns._forms import is_record as is_record
from surgery.study.columns._forms import rebuilt as rebuilt
from surgery.study.columns._lacking import Removed as Removed
from surgery.study.columns._lacking import first_sample as first_sample
from surgery.study.columns._lacking import lacking as lacking
from surgery.study.columns._names import feature_names as feature_names
from surgery.study.columns._names import numbered as numbered
