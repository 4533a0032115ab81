"""Synthetic tasks whose truth is known, to try a study on before the real data."""

from surgery.synthetic._breaking import breaking_point as breaking_point
from surgery.synthetic._embeddings import class_embeddings as class_embeddings
from surgery.synthetic._model import TwoHeads as TwoHeads
from surgery.synthetic._scores import boundary_scores as boundary_scores
from surgery.synthetic._scores import segment_scores as segment_scores
from surgery.synthetic._sequences import Batch as Batch
from surgery.synthetic._sequences import Sequences as Sequences
from surgery.synthetic._sequences import batches as batches
from surgery.synthetic._sequences import noisy_sequences as noisy_sequences
