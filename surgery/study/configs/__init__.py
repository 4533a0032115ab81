"""Configs as users write them (dicts, dataclasses, OmegaConf), by dotted paths."""

from surgery.study.configs._paths import get as get
from surgery.study.configs._paths import leaves as leaves
from surgery.study.configs._paths import missing as missing
from surgery.study.configs._paths import with_values as with_values
from surgery.study.configs._plain import difference as difference
from surgery.study.configs._plain import plain as plain
from surgery.study.configs._plain import without as without
