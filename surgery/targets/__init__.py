"""The target language: text that names the parts of a model.

`parse` reads it; `resolve` finds the components in a model that one target names,
`resolve_group` those of several as one, `resolve_each` the rows of a ranking.
"""

from ._groups import TargetLike as TargetLike
from ._groups import resolve_each as resolve_each
from ._groups import resolve_group as resolve_group
from ._parse import parse as parse
from ._resolve import resolve as resolve
from ._target import Target as Target
