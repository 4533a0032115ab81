"""What users give as data: batches, samples, and how a model runs on them."""

from surgery.data._batches import Batches as Batches
from surgery.data._calls import call_on_batch as call_on_batch
from surgery.data._calls import call_on_inputs as call_on_inputs
from surgery.data._chosen import sketch as sketch
from surgery.data._forms import Form as Form
from surgery.data._forms import taken_apart as taken_apart
from surgery.data._joining import fresh as fresh
from surgery.data._joining import join_batches as join_batches
from surgery.data._joining import keep_batch as keep_batch
from surgery.data._joining import put_samples as put_samples
from surgery.data._samples import batch_length as batch_length
from surgery.data._samples import is_per_sample as is_per_sample
from surgery.data._samples import keep_samples as keep_samples
from surgery.data._samples import slice_batch as slice_batch
from surgery.data._samples import take as take
from surgery.data._samples import to_device as to_device
