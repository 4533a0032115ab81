"""Kinds of functions: what each does with the data that goes through it."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REARRANGING: Final = _names(
    """
    view reshape flatten unflatten permute transpose t swapaxes movedim contiguous
    squeeze unsqueeze view_as reshape_as clone detach alias to float half bfloat16
    double type type_as cpu cuda ravel T mT H mH data atleast_1d atleast_2d atleast_3d
    view_as_real view_as_complex
    """
)
"""The result is all of the first operand's values, in another order, shape or type."""

SELECTING: Final = _names(
    """
    getitem select narrow split chunk unbind tensor_split index_select gather take
    hsplit vsplit dsplit diagonal real imag masked_select unfold
    take_along_dim split_with_sizes
    """
)
"""The result is some of the first operand's values."""

EXTENDING: Final = _names("expand expand_as broadcast_to repeat repeat_interleave tile")
"""The result repeats the first operand's values."""

MOVING: Final = (
    REARRANGING
    | SELECTING
    | EXTENDING
    | _names(
        """
        cat stack hstack vstack dstack roll flip rot90 pixel_shuffle pixel_unshuffle
        broadcast_tensors channel_shuffle
        """
    )
)
"""The result's values are operands' values: what holds of a value still holds."""

CONVERTING: Final = (
    REARRANGING | SELECTING | EXTENDING | _names("roll flip setitem pad")
)
"""Only views, indexes or converts: no computing of its own."""

SHAPE_ONLY: Final = _names(
    """
    zeros_like ones_like empty_like full_like rand_like randn_like randint_like
    new_zeros new_ones new_empty new_full new_tensor new_empty_strided new
    """
)
"""Takes an operand's shape and type, and nothing of its values."""

OVERWRITING: Final = _names(
    """
    zero fill normal uniform bernoulli exponential log_normal cauchy geometric random
    trunc_normal resize set
    """
)
"""In place, leaves nothing of what was there."""

FIRST_ONLY: Final = _names("to type_as expand_as view_as reshape_as")
"""Of further operands takes only shape or type."""

ACTIVATING: Final = _names(
    """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid tanh softmax
    hardsigmoid hardswish hardtanh softplus softsign logsigmoid glu threshold clamp
    clamp_min log_softmax gumbel_softmax tanhshrink softshrink hardshrink exp
    """
)
"""A nonlinearity for each value, as activations and gates use."""

VIEWING: Final = REARRANGING | SELECTING | EXTENDING
"""Gives values of the first operand, and nothing else."""

CASTING: Final = _names(
    """
    to float half bfloat16 double type type_as cpu cuda clone detach data
    """
)
"""The result's values stay where they are."""

SCALING: Final = _names(
    "add sub mul div dropout dropout1d dropout2d dropout3d interpolate upsample"
)
"""With nothing live beside it, leaves an activation an activation."""

KEEPING: Final = (
    CASTING
    | ACTIVATING
    | _names(
        """
        add sub mul div neg pow square sqrt abs clip nan_to_num addcmul addcdiv lerp
        where masked_fill dropout alpha_dropout feature_dropout feature_alpha_dropout
        dropout1d dropout2d dropout3d layer_norm rms_norm group_norm batch_norm
        instance_norm local_response_norm normalize rsqrt reciprocal sign maximum
        minimum
        """
    )
)
"""Each value of a result of the same shape belongs to the channel of that value."""

NORMALISING: Final = _names(
    "rsqrt sqrt reciprocal norm std var linalg_vector_norm linalg_norm vector_norm"
)
"""Gives the size of something, which one divides or multiplies by to normalise it."""

NORMALISED: Final = _names(
    "layer_norm rms_norm group_norm batch_norm instance_norm normalize"
)
"""Divides by the size of something."""

SOFTENING: Final = _names("softmax gumbel_softmax _softmax")
"""Gives weights that sum to one, as attention does."""

ATTENDING: Final = _names("mul div add sub where masked_fill")
"""Attention weights that pass these, with whatever else, are attention weights."""

PRODUCTS: Final = _names("matmul mm bmm einsum baddbmm addbmm addmm mv tensordot")
"""Products over an axis: a weight layer where one side is made of parameters."""

WEIGHTED: Final = _names(
    """
    linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d embedding embedding_bag multi_head_attention_forward lstm gru
    rnn_tanh rnn_relu lstm_cell gru_cell deform_conv2d
    """
)
"""Weight layers, whatever their weights are made of."""

MIXING: Final = _names(
    """
    scaled_dot_product_attention multi_head_attention_forward lstm gru rnn_tanh rnn_relu
    lstm_cell gru_cell
    """
)
"""More than a layer: nothing that a projection would hold."""
