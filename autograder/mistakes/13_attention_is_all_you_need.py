"""What learners may write instead in 13, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

TERMS = "np.exp(scores - top)  # the largest is exp(0) = 1, unless the whole row is masked"
TOP = "np.maximum(scores.max(axis=-1, keepdims=True), np.finfo(float).min)  # never -inf"
DS = "dS = A * (dA - np.sum(A * dA, axis=-1, keepdims=True)) / np.sqrt(Q.shape[-1])"
SPLIT = ".reshape(B, x.shape[1], heads, D // heads).transpose(0, 2, 1, 3)"

MISTAKES = [
    Mistake(
        "attention_weights",
        "scale_missing",
        "the scores are not divided by √d_k.",
        {" / np.sqrt(Q.shape[-1])": ""},
    ),
    Mistake(
        "attention_weights",
        "divided_by_d_k",
        "the scores are divided by d_k. Equation (1) divides by its root.",
        {" / np.sqrt(Q.shape[-1])": " / Q.shape[-1]"},
    ),
    Mistake(
        "attention_weights",
        "softmax_over_queries",
        "the softmax runs over the queries: columns sum to 1. Each query spreads its weight "
        "over the keys, the last axis.",
        {"axis=-1": "axis=-2"},
    ),
    Mistake(
        "attention_weights",
        "mask_inverted",
        "the mask is read the wrong way round: True means that the query may attend.",
        {"np.where(mask, scores, -np.inf)": "np.where(mask, -np.inf, scores)"},
    ),
    Mistake(
        "attention_weights",
        "mask_ignored",
        "the mask has no effect.",
        {"mask is not None": "False"},
    ),
    Mistake(
        "attention_weights",
        "mask_multiplied",
        "forbidden scores are set to 0, and exp(0) = 1 is a weight like any other. They count as -∞.",
        {"np.where(mask, scores, -np.inf)": "scores * mask"},
    ),
    Mistake(
        "attention_weights",
        "large_negative_number",
        "a row in which everything is masked becomes uniform: it attends to all that it must "
        "not see. Its weights are 0.",
        {"scores, -np.inf)": "scores, -1e9)"},
    ),
    Mistake(
        "attention_weights",
        "nan_where_all_is_masked",
        "a row in which everything is masked gives NaN: -∞ - (-∞), or 0 / 0. Its weights are 0.",
        {
            TOP: "scores.max(axis=-1, keepdims=True)",
            "np.maximum(terms.sum(axis=-1, keepdims=True), 1.0)": "terms.sum(axis=-1, keepdims=True)",
        },
    ),
    Mistake(
        "attention_weights",
        "mask_after_the_softmax",
        "the mask is applied after the softmax, so the rows no longer sum to 1: forbidden keys took part in the sum.",
        {
            "        scores = np.where(mask, scores, -np.inf)\n": "        pass\n",
            "return terms / np.maximum(terms.sum(axis=-1, keepdims=True), 1.0)": (
                "A = terms / terms.sum(axis=-1, keepdims=True)\n    return A if mask is None else A * mask"
            ),
        },
    ),
    Mistake(
        "attention_weights",
        "overflows",
        "large scores overflow: subtract the row's maximum before the exponential.",
        {
            TERMS: "np.exp(scores)",
            ("np.maximum(terms.sum(axis=-1, keepdims=True), 1.0)"): (
                "np.maximum(terms.sum(axis=-1, keepdims=True), 1e-300)"
            ),
        },
    ),
    Mistake(
        "attention_weights",
        "maximum_of_zero",
        "what is subtracted is never below 0, so a row of very low scores underflows to a sum of 0. Subtract its own "
        "maximum, whatever its sign.",
        {"np.finfo(float).min": "0.0", "keepdims=True), 1.0)": "keepdims=True), 1e-300)"},
    ),
    Mistake(
        "sinusoidal_pe",
        "halves_side_by_side",
        "all sines come first, then all cosines. In equation (2) they alternate, column by column.",
        {"pe[:, 0::2]": "pe[:, : (d + 1) // 2]", "pe[:, 1::2]": "pe[:, (d + 1) // 2 :]"},
    ),
    Mistake(
        "sinusoidal_pe",
        "exponent_i_over_d",
        "the exponent is i/d, where i counts the pairs. Equation (2) has 2i/d, the index of the even column.",
        {"np.arange(0, d, 2) / d": "np.arange((d + 1) // 2) / d"},
    ),
    Mistake(
        "sinusoidal_pe",
        "exponent_of_the_odd_column",
        "sine and cosine of a pair have different angles: the odd columns use their own index. Both use 2i.",
        {"np.cos(angles[:, : d // 2])": "np.cos(np.arange(T)[:, None] / 10000.0 ** (np.arange(1, d, 2) / d))"},
    ),
    Mistake(
        "sinusoidal_pe",
        "integer_division",
        "the exponent is rounded to a whole number: every wavelength is the same. Divide as real numbers.",
        {"np.arange(0, d, 2) / d": "np.arange(0, d, 2) // d"},
    ),
    Mistake(
        "sinusoidal_pe",
        "sine_and_cosine_swapped",
        "sines and cosines are swapped: row 0 begins with sin 0 = 0.",
        {
            "pe[:, 0::2] = np.sin(angles)": "pe[:, 0::2] = np.cos(angles)",
            "np.cos(angles[:, : d // 2])": "np.sin(angles[:, : d // 2])",
        },
    ),
    Mistake(
        "sinusoidal_pe",
        "positions_from_one",
        "positions count from 1; the first row is position 0, that is 0, 1, 0, 1, …",
        {"np.arange(T)": "np.arange(1, T + 1)"},
    ),
    Mistake(
        "sinusoidal_pe",
        "odd_d_fails",
        "an odd d fails: there is one cosine fewer than there are sines.",
        {"angles[:, : d // 2]": "angles"},
    ),
    Mistake(
        "sinusoidal_pe",
        "multiplied_wavelength",
        "the position is multiplied by 10000^(2i/d); equation (2) divides, so that later columns are slower.",
        {"np.arange(T)[:, None] / 10000.0": "np.arange(T)[:, None] * 10000.0"},
    ),
    Mistake(
        "mha_forward",
        "heads_without_transpose",
        "the reshape goes straight to (B, h, T, d_k), which mixes positions with columns. "
        "Reshape to (B, T, h, d_k), then "
        "swap the two axes.",
        {SPLIT: ".reshape(B, heads, x.shape[1], D // heads)"},
    ),
    Mistake(
        "mha_forward",
        "joined_without_transpose",
        "the heads are joined without swapping the axes back: (B, h, T, d_k) must become (B, T, h, d_k) first.",
        {"out.transpose(0, 2, 1, 3).reshape(B, Tq, D)": "out.reshape(B, Tq, D)"},
    ),
    Mistake(
        "mha_forward",
        "columns_interleaved",
        "head i takes every h-th column. Head i is the i-th block of D / h neighbouring columns.",
        {SPLIT: ".reshape(B, x.shape[1], D // heads, heads).transpose(0, 3, 1, 2)"},
    ),
    Mistake(
        "mha_forward",
        "one_head",
        "all columns are one head: there is one softmax in place of h.",
        {
            "inner = sdpa_forward(Q, K, V, mask)": (
                "inner = sdpa_forward(Q, K, V, mask)\n"
                "    heads = 1\n"
                '    Q, K, V = ((x @ p[name])[:, None] for name, x in (("Wq", x_q), ("Wk", x_kv), '
                '("Wv", x_kv)))\n'
                "    out, inner = sdpa_forward(Q, K, V, None if mask is None else mask[:, :1])"
            )
        },
    ),
    Mistake(
        "mha_forward",
        "scaled_by_the_whole_width",
        "the scores are divided by √D. A head's keys have d_k = D / h columns, so it is √(D / h).",
        {"sdpa_forward(Q, K, V, mask)": "sdpa_forward(Q / np.sqrt(heads), K, V, mask)"},
    ),
    Mistake(
        "mha_forward",
        "matrices_transposed",
        "the matrices are transposed: here it is x @ W. (nn.Linear keeps the transpose.)",
        {"x @ p[name]": "x @ p[name].T", 'joined @ p["Wo"]': 'joined @ p["Wo"].T'},
    ),
    Mistake(
        "mha_forward",
        "output_matrix_missing",
        "the joined heads are returned as they are; equation (3) multiplies them by W^O.",
        {'joined @ p["Wo"]': "joined"},
    ),
    Mistake(
        "mha_forward",
        "keys_from_the_queries_input",
        "keys and values are made from x_q: this is self-attention. They come from x_kv.",
        {
            '("Wk", x_kv), ("Wv", x_kv)': '("Wk", x_q), ("Wv", x_q)',
            "sdpa_forward(Q, K, V, mask)": "sdpa_forward(Q, K, V, None)",
        },
    ),
    Mistake(
        "mha_forward",
        "values_from_wk",
        "keys and values share W^K; the values have a matrix of their own.",
        {'("Wv", x_kv)': '("Wk", x_kv)'},
    ),
    Mistake(
        "mha_forward",
        "mask_not_passed_on",
        "the mask does not reach the attention.",
        {"sdpa_forward(Q, K, V, mask)": "sdpa_forward(Q, K, V)"},
    ),
    Mistake(
        "layer_norm_forward",
        "eps_outside_the_root",
        "ε is added to the standard deviation. In equation (4) it is added to the variance, inside the root.",
        {"np.sqrt(x.var(axis=-1, keepdims=True) + eps)": "np.sqrt(x.var(axis=-1, keepdims=True)) + eps"},
    ),
    Mistake(
        "layer_norm_forward",
        "eps_missing",
        "ε is not used: a constant vector divides by 0.",
        {" + eps)": ")"},
    ),
    Mistake(
        "layer_norm_forward",
        "variance_by_d_minus_one",
        "the variance is divided by D - 1. Layer norm divides by D.",
        {"x.var(axis=-1, keepdims=True)": "x.var(axis=-1, keepdims=True, ddof=1) if x.shape[-1] > 1 else 0.0"},
    ),
    Mistake(
        "layer_norm_forward",
        "over_the_batch",
        "mean and variance run over the first axis, as in batch norm. Here every vector is normalised by itself.",
        {"axis=-1": "axis=0"},
    ),
    Mistake(
        "layer_norm_forward",
        "over_everything",
        "there is one mean and one variance for the whole array. Every vector has its own, over its features.",
        {"axis=-1, keepdims=True": "keepdims=True"},
    ),
    Mistake(
        "layer_norm_forward",
        "root_missing",
        "this divides by the variance; equation (4) divides by its root.",
        {"np.sqrt(x.var(axis=-1, keepdims=True) + eps)": "(x.var(axis=-1, keepdims=True) + eps)"},
    ),
    Mistake(
        "layer_norm_forward",
        "mean_not_removed",
        "the mean is not subtracted. (RMS norm leaves it; layer norm does not.)",
        {"(x - x.mean(axis=-1, keepdims=True))": "x"},
    ),
    Mistake(
        "layer_norm_forward",
        "eps_fixed",
        "ε is fixed at 1e-5; use the argument `eps`.",
        {"+ eps": "+ 1e-5"},
    ),
    Mistake(
        "layer_norm_forward",
        "gain_and_bias_missing",
        "gain and bias are not used.",
        {"gain * xhat + bias": "xhat"},
    ),
    Mistake(
        "layer_norm_backward",
        "statistics_taken_as_constants",
        "mean and variance are treated as constants: the two bars of equation (5) are missing.",
        {"(dxhat - dxhat.mean(axis=-1, keepdims=True) - xhat * along)": "dxhat"},
    ),
    Mistake(
        "layer_norm_backward",
        "mean_path_missing",
        "the path through μ is missing: dx does not sum to 0.",
        {" - dxhat.mean(axis=-1, keepdims=True)": ""},
    ),
    Mistake(
        "layer_norm_backward",
        "variance_path_missing",
        "the path through σ² is missing: the last term of equation (5).",
        {" - xhat * along": ""},
    ),
    Mistake(
        "layer_norm_backward",
        "sums_for_means",
        "the bars are sums over the features; they are means.",
        {"(dxhat * xhat).mean(": "(dxhat * xhat).sum(", "dxhat.mean(": "dxhat.sum("},
    ),
    Mistake(
        "layer_norm_backward",
        "not_divided_by_s",
        "the factor 1/s of equation (5) is missing.",
        {" * along) / scale": " * along)"},
    ),
    Mistake(
        "layer_norm_backward",
        "gain_missing",
        "the gain is missing: dx̂ is dy times g.",
        {"dout * gain": "dout"},
    ),
    Mistake(
        "layer_norm_backward",
        "gain_after_the_means",
        "the gain multiplies at the end. It differs between features, so it belongs inside the means: dx̂ = dy ⊙ g.",
        {"dout * gain": "dout", " * along) / scale": " * along) / scale * gain"},
    ),
    Mistake(
        "layer_norm_backward",
        "only_the_first_axis_summed",
        "the gradients of gain and bias are summed over the first axis only. Sum over all axes but the last.",
        {"tuple(range(dout.ndim - 1))": "tuple(range(min(1, dout.ndim - 1)))"},
    ),
    Mistake(
        "layer_norm_backward",
        "gain_and_bias_averaged",
        "the gradients of gain and bias are means. Each vector uses them, so their gradients are sums.",
        {"(dout * xhat).sum(": "(dout * xhat).mean(", "dout.sum(": "dout.mean("},
    ),
    Mistake(
        "layer_norm_backward",
        "dgain_of_the_scaled_upstream",
        "dg uses dx̂, which holds the gain already; it is the sum of dy ⊙ x̂.",
        {"(dout * xhat).sum(": "(dxhat * xhat).sum("},
    ),
    Mistake(
        "sdpa_backward",
        "scale_missing",
        "dQ and dK lack the 1/√d_k of equation (8): they are √d_k too large.",
        {" / np.sqrt(Q.shape[-1])": ""},
    ),
    Mistake(
        "sdpa_backward",
        "scale_twice",
        "the scale is applied twice: 1/d_k in place of 1/√d_k.",
        {" / np.sqrt(Q.shape[-1])": " / Q.shape[-1]"},
    ),
    Mistake(
        "sdpa_backward",
        "diagonal_jacobian",
        "the softmax is differentiated as if each weight depended on its own score alone, "
        "A(1 - A). Equation (7) has the "
        "whole row.",
        {DS: "dS = A * (1 - A) * dA / np.sqrt(Q.shape[-1])"},
    ),
    Mistake(
        "sdpa_backward",
        "row_sum_missing",
        "the sum in equation (7) is missing: the rows of dS must sum to 0.",
        {" - np.sum(A * dA, axis=-1, keepdims=True)": ""},
    ),
    Mistake(
        "sdpa_backward",
        "mean_for_the_sum",
        "equation (7) subtracts the plain mean of dA; it is the sum weighted with A.",
        {"np.sum(A * dA, axis=-1, keepdims=True)": "np.mean(dA, axis=-1, keepdims=True)"},
    ),
    Mistake(
        "sdpa_backward",
        "sum_over_the_queries",
        "the sum in equation (7) runs over the queries; the softmax was over the keys, the last axis.",
        {"axis=-1, keepdims=True": "axis=-2, keepdims=True"},
    ),
    Mistake(
        "sdpa_backward",
        "softmax_skipped",
        "the softmax is left out on the way back: dS is not dA.",
        {DS: "dS = dA / np.sqrt(Q.shape[-1])"},
    ),
    Mistake(
        "sdpa_backward",
        "dk_not_transposed",
        "dK uses dS where it needs its transpose: key j collects from every query, along column j.",
        {"dS.swapaxes(-1, -2) @ Q": "np.resize(dS, (*dS.shape[:-2], dS.shape[-1], dS.shape[-2])) @ Q"},
    ),
    Mistake(
        "sdpa_backward",
        "dv_not_transposed",
        "dV uses A where it needs its transpose: value j collects from every query that looked at it.",
        {"A.swapaxes(-1, -2) @ dout": "np.resize(A, (*A.shape[:-2], A.shape[-1], A.shape[-2])) @ dout"},
    ),
    Mistake(
        "sdpa_backward",
        "dq_and_dk_swapped",
        "dQ and dK are returned in the wrong order.",
        {"return dS @ K, dS.swapaxes(-1, -2) @ Q,": "return dS.swapaxes(-1, -2) @ Q, dS @ K,"},
    ),
    Mistake(
        "sdpa_backward",
        "upstream_of_ones",
        "the upstream gradient is not used: this is the gradient of the sum of the output.",
        {"dA = dout": "dout = np.ones_like(dout)\n    dA = dout"},
    ),
    Mistake(
        "mha_backward",
        "values_gradient_of_the_input_missing",
        "dx_kv has the keys' part only. Keys and values come from the same input, so their gradients add.",
        {"dxs[1] + dxs[2]": "dxs[1]"},
    ),
    Mistake(
        "mha_backward",
        "keys_gradient_of_the_input_missing",
        "dx_kv has the values' part only. Keys and values come from the same input, so their gradients add.",
        {"dxs[1] + dxs[2]": "dxs[2]"},
    ),
    Mistake(
        "mha_backward",
        "split_without_transpose",
        "dJ is split without swapping the axes: (B, T, h, d_k) must become (B, h, T, d_k), as in the forward pass.",
        {".reshape(B, Tq, heads, D // heads).transpose(0, 2, 1, 3)": ".reshape(B, heads, Tq, D // heads)"},
    ),
    Mistake(
        "mha_backward",
        "joined_without_transpose",
        "the gradients of Q, K and V are joined without swapping the axes back.",
        {"d.transpose(0, 2, 1, 3).reshape(x.shape)": "d.reshape(x.shape)"},
    ),
    Mistake(
        "mha_backward",
        "output_matrix_not_transposed",
        "dJ is dout times W^O; on the way back the matrix is transposed.",
        {'p["Wo"].T': 'p["Wo"]'},
    ),
    Mistake(
        "mha_backward",
        "projections_not_transposed",
        "the inputs' gradients use W^Q, W^K and W^V as they are; on the way back they are transposed.",
        {"p[name].T": "p[name]"},
    ),
    Mistake(
        "mha_backward",
        "output_matrix_skipped",
        "the gradient reaches the heads without passing W^O.",
        {'(dout @ p["Wo"].T)': "dout"},
    ),
    Mistake(
        "mha_backward",
        "weights_transposed",
        "the matrices' gradients are transposed: each has the input's columns as rows, xᵀ times the gradient.",
        {"bti,btj->ij": "bti,btj->ji"},
    ),
    Mistake(
        "mha_backward",
        "weights_averaged",
        "the matrices' gradients are averaged over the batch. Every example uses the matrix, so they are sums.",
        {"return dxs[0]": "grads = {name: grad / B for name, grad in grads.items()}\n    return dxs[0]"},
    ),
    Mistake(
        "mha_backward",
        "weights_of_the_first_example",
        "the matrices' gradients are those of one example; sum over the batch.",
        {
            'np.einsum("bti,btj->ij", joined, dout)': "joined[0].T @ dout[0]",
            'np.einsum("bti,btj->ij", x, d)': "x[0].T @ d[0]",
        },
    ),
    Mistake(
        "mha_backward",
        "wo_gradient_from_the_input",
        "dW^O uses the input x_q. What W^O multiplied in the forward pass are the joined heads.",
        {"joined, dout)": "x_q, dout)"},
    ),
    Mistake(
        "encoder_block_backward",
        "second_residual_lost",
        "du has only what comes through the feed-forward network: the residual u + … passes r₂ on as well.",
        {"du = dr2 + dhidden": "du = dhidden"},
    ),
    Mistake(
        "encoder_block_backward",
        "first_residual_lost",
        "dx has only what comes through attention: the residual x + … passes r₁ on as well.",
        {"return dr1 + dx_q": "return dx_q"},
    ),
    Mistake(
        "encoder_block_backward",
        "feed_forward_lost",
        "du has only the residual: what comes back through the feed-forward network is missing.",
        {'dr2 + dhidden @ p["W1"].T': "dr2"},
    ),
    Mistake(
        "encoder_block_backward",
        "keys_and_values_forgotten",
        "x also gave the keys and values: dx_kv is missing in equation (13).",
        {"dr1 + dx_q + dx_kv": "dr1 + dx_q"},
    ),
    Mistake(
        "encoder_block_backward",
        "queries_forgotten",
        "x also asked the queries: dx_q is missing in equation (13).",
        {"dr1 + dx_q + dx_kv": "dr1 + dx_kv"},
    ),
    Mistake(
        "encoder_block_backward",
        "residual_before_the_norm",
        "the residual takes du, from behind the first norm. The addition is inside the norm: its gradient is r₁.",
        {"return dr1 + dx_q": "return du + dx_q"},
    ),
    Mistake(
        "encoder_block_backward",
        "relu_missing",
        "the ReLU is left out on the way back: where h is 0 nothing passes.",
        {" * (hidden > 0)": ""},
    ),
    Mistake(
        "encoder_block_backward",
        "relu_mask_of_u",
        "the ReLU's mask is taken from its gradient or from u; it is where the hidden layer h is above 0.",
        {'(dr2 @ p["W2"].T) * (hidden > 0)': 'np.maximum(dr2 @ p["W2"].T, 0)'},
    ),
    Mistake(
        "encoder_block_backward",
        "second_norm_skipped",
        "the gradient does not pass the second norm.",
        {"    dhidden =": "    dr2 = dout\n    dhidden ="},
    ),
    Mistake(
        "encoder_block_backward",
        "first_norm_skipped",
        "the gradient does not pass the first norm.",
        {"    dx_q, dx_kv, grads =": "    dr1 = du\n    dx_q, dx_kv, grads ="},
    ),
    Mistake(
        "encoder_block_backward",
        "norms_swapped",
        "the gradients of the two norms' gains and biases are swapped.",
        {
            ('"gain1": dgain1, "bias1": dbias1, "gain2": dgain2, "bias2": dbias2'): (
                '"gain1": dgain2, "bias1": dbias2, "gain2": dgain1, "bias2": dbias1'
            )
        },
    ),
    Mistake(
        "encoder_block_backward",
        "biases_of_one_axis",
        "the biases' gradients are summed over the batch only; they serve every position too.",
        {"axis=(0, 1)": "axis=0"},
    ),
    Mistake(
        "encoder_block_backward",
        "w1_gradient_before_the_relu",
        "dW1 and db1 use the gradient as it is behind the ReLU: where h is 0 it must not count.",
        {'u, dhidden), "b1": dhidden.sum': 'u, dr2 @ p["W2"].T), "b1": (dr2 @ p["W2"].T).sum'},
    ),
    Mistake(
        "TransformerLayer",
        "pre_norm",
        "the norm comes before the sublayer (pre-norm). Equation (14) normalises the sum.",
        {
            "self.norm1(x + self.self_attn(x, x, mask))": "x + self.self_attn(self.norm1(x), self.norm1(x), mask)",
            ("self.norm2(x + self.cross_attn(x, memory, memory_mask))"): (
                "x + self.cross_attn(self.norm2(x), memory, memory_mask)"
            ),
            "self.norm3(x + self.ffn(x))": "x + self.ffn(self.norm3(x))",
        },
    ),
    Mistake(
        "TransformerLayer",
        "residual_after_the_norm",
        "the norm sees the sublayer's output alone, and x is added after it. It must see the sum.",
        {
            "self.norm1(x + self.self_attn(x, x, mask))": "x + self.norm1(self.self_attn(x, x, mask))",
            ("self.norm2(x + self.cross_attn(x, memory, memory_mask))"): (
                "x + self.norm2(self.cross_attn(x, memory, memory_mask))"
            ),
            "self.norm3(x + self.ffn(x))": "x + self.norm3(self.ffn(x))",
        },
    ),
    Mistake(
        "TransformerLayer",
        "residuals_missing",
        "the residual connections are missing: each norm sees f(x) in place of x + f(x).",
        {"x + self.": "self."},
    ),
    Mistake(
        "TransformerLayer",
        "norm_reused",
        "one norm is used for several sublayers; each has its own.",
        {"self.norm3(x + self.ffn(x))": "self.norm1(x + self.ffn(x))"},
    ),
    Mistake(
        "TransformerLayer",
        "causal_mask_on_cross_attention",
        "cross-attention gets the mask of self-attention. That one concerns positions of the "
        "output; here the source is "
        "looked at, with memory_mask.",
        {"memory, memory_mask)": "memory, mask[:, :1].expand(-1, memory.shape[1]) if mask is not None else None)"},
    ),
    Mistake(
        "TransformerLayer",
        "memory_mask_ignored",
        "cross-attention ignores memory_mask.",
        {"memory, memory_mask)": "memory)"},
    ),
    Mistake(
        "TransformerLayer",
        "mask_ignored",
        "self-attention ignores its mask.",
        {"(x, x, mask)": "(x, x)"},
    ),
    Mistake(
        "TransformerLayer",
        "cross_attention_to_itself",
        "cross-attention looks at x. Keys and values come from the memory.",
        {"self.cross_attn(x, memory, memory_mask)": "self.cross_attn(x, x, None)"},
    ),
    Mistake(
        "TransformerLayer",
        "roles_swapped",
        "the memory asks and x is looked at; it is the other way round.",
        {"self.cross_attn(x, memory, memory_mask)": "self.cross_attn(memory, x, None)[:, :1]"},
    ),
    Mistake(
        "TransformerLayer",
        "cross_attention_left_out",
        "the memory is not looked at: cross-attention is missing.",
        {"if memory is not None:": "if False:"},
    ),
    Mistake(
        "TransformerLayer",
        "memory_detached",
        "the outputs are right, and no gradient reaches the memory: the encoder would not learn.",
        {"self.cross_attn(x, memory, memory_mask)": "self.cross_attn(x, memory.detach(), memory_mask)"},
    ),
    Mistake(
        "Transformer",
        "scale_missing",
        "the embedding is not multiplied by √d.",
        {" * math.sqrt(self.embedding.embedding_dim)": ""},
    ),
    Mistake(
        "Transformer",
        "scaled_with_positions",
        "√d multiplies the positions as well. It scales the embedding alone.",
        {
            "self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)": "self.embedding(tokens)",
            ("return vectors + self.positions[start : start + tokens.shape[1]].to(vectors.dtype)"): (
                "return (vectors + self.positions[start : start + "
                "tokens.shape[1]].to(vectors.dtype)) * math.sqrt(vectors.shape[-1])"
            ),
        },
    ),
    Mistake(
        "Transformer",
        "start_ignored",
        "`embed` ignores start: its first token is always at position 0.",
        {"[start : start + tokens.shape[1]]": "[: tokens.shape[1]]"},
    ),
    Mistake(
        "Transformer",
        "positions_missing",
        "the positions are not added.",
        {" + self.positions[start : start + tokens.shape[1]].to(vectors.dtype)": ""},
    ),
    Mistake(
        "Transformer",
        "output_not_shifted",
        "the decoder reads the very symbol that it is to predict: shift the output, START first.",
        {"torch.cat([torch.full_like(tgt[:, :1], START), tgt[:, :-1]], dim=1)": "tgt"},
    ),
    Mistake(
        "Transformer",
        "shifted_to_the_left",
        "the output is shifted the wrong way: the decoder reads symbols from ahead.",
        {
            ("torch.cat([torch.full_like(tgt[:, :1], START), tgt[:, :-1]], dim=1)"): (
                "torch.cat([tgt[:, 1:], torch.full_like(tgt[:, :1], START)], dim=1)"
            )
        },
    ),
    Mistake(
        "Transformer",
        "causal_mask_missing",
        "the decoder has no causal mask: every position sees those ahead.",
        {"layer(y, causal, memory": "layer(y, None, memory"},
    ),
    Mistake(
        "Transformer",
        "causal_mask_without_diagonal",
        "the causal mask hides the position itself. Equation (15) reads the output shifted, "
        "so the diagonal may be seen.",
        {".tril()": ".tril(-1)"},
    ),
    Mistake(
        "Transformer",
        "causal_mask_upper",
        "the causal mask is the upper triangle: positions see the future and not the past.",
        {".tril()": ".triu()"},
    ),
    Mistake(
        "Transformer",
        "causal_encoder",
        "the encoder is causal. The source is known as a whole; only the decoder must not look ahead.",
        {
            "layer(x, src_mask[:, None, None])": (
                "layer(x, src_mask[:, None, None] & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril())"
            )
        },
    ),
    Mistake(
        "Transformer",
        "padding_in_cross_attention",
        "cross-attention looks at padding: src_mask holds in the decoder as well.",
        {"memory, src_mask[:, None, None])": "memory)"},
    ),
    Mistake(
        "Transformer",
        "padding_in_the_encoder",
        "the encoder attends to padding: it needs src_mask.",
        {"layer(x, src_mask[:, None, None])": "layer(x)"},
    ),
    Mistake(
        "Transformer",
        "first_layer_only",
        "only the first layer of a column is run; the loop must pass on what the layer before returned.",
        {
            "for layer in self.encoder:": "for layer in self.encoder[:1]:",
            "for layer in self.decoder:": "for layer in self.decoder[:1]:",
        },
    ),
    Mistake(
        "Transformer",
        "logits_scaled",
        "the logits are multiplied by √d: only the input is scaled.",
        {"y @ self.embedding.weight.T": "y @ self.embedding.weight.T * math.sqrt(y.shape[-1])"},
    ),
    Mistake(
        "Transformer",
        "memory_detached",
        "the outputs are right, and the encoder gets no gradient from the decoder.",
        {"self.encode(src, src_mask), src_mask)": "self.encode(src, src_mask).detach(), src_mask)"},
    ),
    Mistake(
        "Transformer",
        "probabilities_returned",
        "these are probabilities; return the logits.",
        {"return y @ self.embedding.weight.T": "return torch.softmax(y @ self.embedding.weight.T, dim=-1)"},
    ),
    Mistake(
        "label_smoothing_loss",
        "spread_over_the_others",
        "ε is spread over the K - 1 other classes. In equation (16) the right one has its share too: ε / K.",
        {
            "return -((1 - eps) * right + eps * log_p.mean(dim=1)).mean()": (
                "K = logits.shape[1]\n"
                "    return -((1 - eps) * right + eps * (log_p.sum(dim=1) - right) / (K - 1)).mean()"
            )
        },
    ),
    Mistake(
        "label_smoothing_loss",
        "not_averaged_over_the_classes",
        "every class gets ε in place of ε / K: the target sums to more than 1.",
        {"log_p.mean(dim=1)": "log_p.sum(dim=1)"},
    ),
    Mistake(
        "label_smoothing_loss",
        "right_class_keeps_one",
        "the right class keeps its whole probability; it gives up ε of it.",
        {"(1 - eps) * right": "right"},
    ),
    Mistake(
        "label_smoothing_loss",
        "no_smoothing",
        "this is the plain cross-entropy: ε is not used.",
        {"return -((1 - eps) * right + eps * log_p.mean(dim=1)).mean()": "return -right.mean()"},
    ),
    Mistake(
        "label_smoothing_loss",
        "summed_over_the_batch",
        "the loss is a sum over the batch; equation (16) has its mean.",
        {"log_p.mean(dim=1)).mean()": "log_p.mean(dim=1)).sum()"},
    ),
    Mistake(
        "label_smoothing_loss",
        "sign",
        "the minus sign is missing: this loss would be maximised.",
        {"return -((": "return (("},
    ),
    Mistake(
        "label_smoothing_loss",
        "log_of_softmax",
        "softmax first and then log gives -∞ for logits that are far apart. Use the log-softmax.",
        {"torch.log_softmax(logits, dim=1)": "torch.log(torch.softmax(logits, dim=1))"},
    ),
    Mistake(
        "label_smoothing_loss",
        "log_of_softmax_plus_a_little",
        "a small number inside the logarithm bends the loss of every confident answer. Use the log-softmax.",
        {"torch.log_softmax(logits, dim=1)": "torch.log(torch.softmax(logits, dim=1) + 1e-8)"},
    ),
    Mistake(
        "label_smoothing_loss",
        "graph_lost",
        "the loss has no graph, so no gradient can flow back: keep it a tensor.",
        {"log_p.mean(dim=1)).mean()": "log_p.mean(dim=1)).mean().detach().requires_grad_()"},
    ),
    Mistake(
        "greedy_decode_cached",
        "position_not_advanced",
        "every symbol is embedded at position 0. The one that is read at step t stands at position t.",
        {"model.embed(token, start=t)": "model.embed(token)"},
    ),
    Mistake(
        "greedy_decode_cached",
        "position_off_by_one",
        "the positions are one too large: START is read at position 0.",
        {"start=t)": "start=t + 1)"},
    ),
    Mistake(
        "greedy_decode_cached",
        "cache_extended_too_late",
        "a position does not see itself: extend the cache before you attend.",
        {
            "            y = layer.norm1(y + layer.self_attn.attend(y, *caches[k]))\n": "",
            "            caches[k] =": (
                "            seen = layer.self_attn.attend(y, *(caches[k] if t else new))\n            caches[k] ="
            ),
            "            y = layer.norm2(": "            y = layer.norm1(y + seen)\n            y = layer.norm2(",
        },
    ),
    Mistake(
        "greedy_decode_cached",
        "cache_not_kept",
        "each symbol attends to itself alone: the keys and values of earlier steps are lost.",
        {"[torch.cat(pair, dim=2) for pair in zip(caches[k], new, strict=True)]": "new"},
    ),
    Mistake(
        "greedy_decode_cached",
        "one_cache_for_all_layers",
        "all layers share one cache. Each layer has keys and values of its own.",
        {"caches[k]": "caches[0]"},
    ),
    Mistake(
        "greedy_decode_cached",
        "keys_of_the_layers_output",
        "the cache holds keys and values of the layer's output. Self-attention looks at what enters the layer.",
        {
            "            y = layer.norm3(y + layer.ffn(y))\n": (
                "            y = layer.norm3(y + layer.ffn(y))\n"
                "            new = layer.self_attn.keys_values(y)\n"
                "            caches[k] = [torch.cat([c[:, :, :-1], v], dim=2) for c, v in "
                "zip(caches[k], new, strict=True)]\n"
            ),
        },
    ),
    Mistake(
        "greedy_decode_cached",
        "memory_mask_ignored",
        "cross-attention looks at the source's padding: it needs memory_mask.",
        {"*crossed[k], memory_mask)": "*crossed[k])"},
    ),
    Mistake(
        "greedy_decode_cached",
        "cross_attention_left_out",
        "cross-attention is missing: what is written does not depend on the source.",
        {"            y = layer.norm2(y + layer.cross_attn.attend(y, *crossed[k], memory_mask))\n": ""},
    ),
    Mistake(
        "greedy_decode_cached",
        "start_read_again",
        "every step reads START. Read the symbol that was written last.",
        {
            ("        token = logits[-1].argmax(dim=-1)\n        tokens.append(token)"): (
                "        tokens.append(logits[-1].argmax(dim=-1))"
            )
        },
    ),
    Mistake(
        "greedy_decode_cached",
        "least_probable",
        "the least probable symbol is written.",
        {"argmax": "argmin"},
    ),
    Mistake(
        "greedy_decode_cached",
        "memory_projected_in_every_step",
        "the result is right, but the memory's keys and values are computed anew in every "
        "step. It does not change: do "
        "it once per layer, before the loop.",
        {"attend(y, *crossed[k], memory_mask)": "attend(y, *layer.cross_attn.keys_values(memory), memory_mask)"},
    ),
    Mistake(
        "greedy_decode_cached",
        "no_cache",
        "the result is right, but all that is written passes the decoder again in every "
        "step. Keep the keys and values, "
        "and pass only the newest symbol.",
        {
            "        y = model.embed(token, start=t)\n": (
                "        y = model.embed(torch.cat([torch.full_like(src[:, :1], START), *tokens], "
                "dim=1))\n"
                "        causal = torch.ones(t + 1, t + 1, dtype=torch.bool).tril()\n"
            ),
            "            new = layer.self_attn.keys_values(y)\n": "",
            "            caches[k] = [torch.cat(pair, dim=2) for pair in zip(caches[k], new, strict=True)]\n": "",
            "layer.self_attn.attend(y, *caches[k])": "layer.self_attn(y, y, causal)",
            "y @ model.embedding": "y[:, -1:] @ model.embedding",
        },
    ),
]
