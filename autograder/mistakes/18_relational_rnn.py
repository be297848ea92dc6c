"""What learners may write instead in 18, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

SOURCES = '(("Wq", M), ("Wk", both), ("Wv", both))'
PROJECTED = "Q, K, V = (split(x @ p[name], heads) for name, x in sources)"
WEIGHTED = "A, weights = attention_weights_forward(Q, K)"
DS = "dS = A * (dA - np.sum(A * dA, axis=-1, keepdims=True)) / np.sqrt(Q.shape[-1])"
NEXT = "return f * M + i * c, ("
INTO_GATES = "gates_forward(p, row, M)"
BACK = 'return drow @ p["Win"].T, dM_new * f + dM_gates + dr1 + dM_attention, grads'
UP = "dmemories[:, t] + dM, cache[t]"
TORCH_Q = "Q, K, V = (W(z).unflatten(-1, (self.heads, -1)).transpose(1, 2) for W, z in sources)"


MISTAKES = [
    Mistake(
        "memory_attention_forward",
        "the_input_asks_too",
        "the row of the input asks as well, so there is a row too many. Queries come from the slots alone.",
        {'("Wq", M)': '("Wq", both)'},
    ),
    Mistake(
        "memory_attention_forward",
        "the_input_is_not_looked_at",
        "slots look at slots only: the input never gets in. Keys and values come from [M; r].",
        {SOURCES: '(("Wq", M), ("Wk", M), ("Wv", M))'},
    ),
    Mistake(
        "memory_attention_forward",
        "slots_are_not_looked_at",
        "keys and values come from the input alone: no slot sees another. They come from [M; r].",
        {SOURCES: '(("Wq", M), ("Wk", row), ("Wv", row))'},
    ),
    Mistake(
        "memory_attention_forward",
        "heads_mixed",
        "the reshape goes straight to (B, h, T, d_k), which mixes slots with columns. The given `split` swaps the "
        "axes after its reshape.",
        {PROJECTED: "Q, K, V = ((x @ p[name]).reshape(len(x), heads, x.shape[1], -1) for name, x in sources)"},
    ),
    Mistake(
        "memory_attention_forward",
        "joined_without_swapping",
        "the heads are joined without swapping the axes back. The given `join` does it.",
        {"join(A @ V)": "(A @ V).reshape(M.shape)"},
    ),
    Mistake(
        "memory_attention_forward",
        "split_before_the_matrices",
        "the input is split into heads and each head sees its own columns only; a head's matrix sees all D columns. "
        "Multiply first, then split.",
        {
            "split(x @ p[name], heads)": (
                "np.stack([x[..., k * (x.shape[-1] // heads) :][..., : x.shape[-1] // heads] @ "
                "p[name][k * (x.shape[-1] // heads) :, k * (x.shape[-1] // heads) :]"
                "[: x.shape[-1] // heads, : x.shape[-1] // heads] for k in range(heads)], axis=1)"
            )
        },
    ),
    Mistake(
        "memory_attention_forward",
        "one_head",
        "all columns are one head: there is one softmax in place of h.",
        {PROJECTED: PROJECTED.replace("heads)", "1)"), "both, heads, A": "both, 1, A"},
    ),
    Mistake(
        "memory_attention_forward",
        "scaled_by_the_whole_width",
        "the scores are divided by √D. A head's keys have d_k = D / h columns, and the given weights already divide "
        "by √d_k.",
        {WEIGHTED: "A, weights = attention_weights_forward(Q / np.sqrt(heads), K)"},
    ),
    Mistake(
        "memory_attention_forward",
        "scaled_twice",
        "the scores are divided by √d_k twice: the given `attention_weights_forward` does it.",
        {WEIGHTED: "A, weights = attention_weights_forward(Q / np.sqrt(Q.shape[-1]), K)"},
    ),
    Mistake(
        "memory_attention_forward",
        "values_without_matrix",
        "the values are [M; r] itself; equation (1) multiplies them by W^V.",
        {PROJECTED: PROJECTED + "\n    V = split(both, heads)"},
    ),
    Mistake(
        "memory_attention_forward",
        "values_from_wk",
        "keys and values share W^K; the values have a matrix of their own.",
        {'("Wv", both)': '("Wk", both)'},
    ),
    Mistake(
        "memory_attention_forward",
        "residual_too_early",
        "M is added here. The residual belongs to the step, equation (3).",
        {"return join(A @ V),": "return M + join(A @ V),"},
    ),
    Mistake(
        "gates_forward",
        "constant_in_the_input_gate",
        "the 1 stands in the input gate; it belongs to the forget gate.",
        {'p["bf"] + 1)': 'p["bf"])', 'p["bi"])': 'p["bi"] + 1)'},
    ),
    Mistake(
        "gates_forward",
        "forget_constant_missing",
        "the 1 in the forget gate is missing: at first a slot would keep only half of its content.",
        {'p["bf"] + 1)': 'p["bf"])'},
    ),
    Mistake(
        "gates_forward",
        "constant_in_both",
        "the 1 is in both gates; equation (2) has it in the forget gate only.",
        {'p["bi"])': 'p["bi"] + 1)'},
    ),
    Mistake(
        "gates_forward",
        "constant_outside",
        "the 1 is added to the gate instead of to what stands inside the sigmoid.",
        {'p["bf"] + 1)': 'p["bf"]) + 1'},
    ),
    Mistake(
        "gates_forward",
        "memory_not_squeezed",
        "the gates see M itself; they see tanh(M), so that a large memory can't drown the input.",
        {"np.tanh(M)": "M"},
    ),
    Mistake(
        "gates_forward",
        "memory_ignored",
        "the gates don't look at the memory.",
        {' + seen @ p["Ui"]': "", ' + seen @ p["Uf"]': " + 0 * seen"},
    ),
    Mistake(
        "gates_forward",
        "tanh_after_the_product",
        "tanh is taken of M U; equation (2) has tanh(M) U.",
        {'seen @ p["Ui"]': 'np.tanh(M @ p["Ui"])', 'seen @ p["Uf"]': 'np.tanh(M @ p["Uf"])'},
    ),
    Mistake(
        "gates_forward",
        "gates_swapped",
        "the two gates are returned in the wrong order.",
        {"return i, f,": "return f, i,"},
    ),
    Mistake(
        "gates_forward",
        "forget_is_one_minus_input",
        "f is 1 - i, as in a GRU. Here the forget gate has its own parameters.",
        {"return i, f,": "return i, 1 - i,"},
    ),
    Mistake(
        "gates_forward",
        "row_squeezed_too",
        "the row goes through tanh as well; equation (2) squeezes the memory only.",
        {"row @ p": "np.tanh(row) @ p"},
    ),
    Mistake(
        "rmc_step_forward",
        "gates_from_the_new_memory",
        "the gates look at what attention and network have made. They look at the memory from before the step.",
        {INTO_GATES: "gates_forward(p, row, y)"},
    ),
    Mistake(
        "rmc_step_forward",
        "no_residual_round_attention",
        "M is not added to what attention found, equation (3).",
        {"layer_norm_forward(M + attended,": "layer_norm_forward(attended,"},
    ),
    Mistake(
        "rmc_step_forward",
        "no_residual_round_the_network",
        "u is not added to the network's output, equation (4).",
        {'u + hidden @ p["W2"]': 'hidden @ p["W2"]'},
    ),
    Mistake(
        "rmc_step_forward",
        "norm_before_the_addition",
        "the norm is applied to attention's output, and M added after it. LN_1 sees the sum.",
        {
            'u, norm1 = layer_norm_forward(M + attended, p["gain1"], p["bias1"])': (
                'u, norm1 = layer_norm_forward(attended, p["gain1"], p["bias1"])\n    u = M + u'
            )
        },
    ),
    Mistake(
        "rmc_step_forward",
        "norms_share_parameters",
        "both norms use gain1 and bias1; the second has its own.",
        {'p["gain2"], p["bias2"]': 'p["gain1"], p["bias1"]'},
    ),
    Mistake(
        "rmc_step_forward",
        "candidate_not_squeezed",
        "the tanh of equation (4) is missing: c = tanh y.",
        {"c = np.tanh(y)": "c = y"},
    ),
    Mistake(
        "rmc_step_forward",
        "relu_missing",
        "the ReLU between the two layers of the network is missing.",
        {'np.maximum(u @ p["W1"] + p["b1"], 0)': 'u @ p["W1"] + p["b1"]'},
    ),
    Mistake(
        "rmc_step_forward",
        "gates_swapped",
        "the gates are swapped in equation (5): f keeps the old memory, i lets the candidate in.",
        {NEXT: "return i * M + f * c, ("},
    ),
    Mistake(
        "rmc_step_forward",
        "no_gates",
        "the gates have no effect: this is the candidate alone.",
        {NEXT: "return c, ("},
    ),
    Mistake(
        "rmc_step_forward",
        "one_minus_forget",
        "the candidate is weighted with 1 - f. It has its own gate i.",
        {NEXT: "return f * M + (1 - f) * c, ("},
    ),
    Mistake(
        "rmc_step_forward",
        "whole_result_squeezed",
        "the new memory goes through tanh. Only the candidate does; the memory itself is not squeezed.",
        {NEXT: "return np.tanh(f * M + i * c), ("},
    ),
    Mistake(
        "rmc_step_forward",
        "input_bias_missing",
        "the bias of the row, b_in, is missing.",
        {'(x @ p["Win"] + p["bin"])': '(x @ p["Win"])'},
    ),
    Mistake(
        "rmc_step_forward",
        "old_memory_normalised",
        "what the forget gate keeps is u. Equation (5) keeps M as it was.",
        {NEXT: "return f * u + i * c, ("},
    ),
    Mistake(
        "recall_batch",
        "value_shown_at_the_query",
        "the value is shown together with the key that is asked for, so there is nothing to remember. The right half "
        "of the last row is 0.",
        {"    return X,": ("    X[:, pairs, symbols:] = onehot[values[each, asked]]\n    return X,")},
    ),
    Mistake(
        "recall_batch",
        "query_shown_first",
        "the query stands at the start. It comes after the pairs, so that they must be stored without knowing which "
        "will count.",
        {"    return X,": "    X = np.roll(X, 1, axis=1)\n    return X,"},
    ),
    Mistake(
        "recall_batch",
        "values_in_the_left_half",
        "key and value share their columns; the values have the right half.",
        {
            "X[:, :pairs, symbols:] = onehot[values]": "X[:, :pairs, :symbols] += onehot[values]",
        },
    ),
    Mistake(
        "recall_batch",
        "halves_swapped",
        "values stand left and keys right; equation (6) has the key first.",
        {"    return X,": "    X = np.roll(X, symbols, axis=2)\n    return X,"},
    ),
    Mistake(
        "recall_batch",
        "asked_taken_for_a_key",
        "`asked` is used as a key itself. It says which pair is asked for; the key is keys[b, asked[b]].",
        {"onehot[keys[each, asked]]": "onehot[asked]"},
    ),
    Mistake(
        "recall_batch",
        "same_pair_for_all",
        "every sequence is asked for the pair of the first one.",
        {"keys[each, asked]": "keys[each, asked[0]]", "values[each, asked]": "values[each, asked[0]]"},
    ),
    Mistake(
        "recall_batch",
        "answer_is_the_key",
        "the answer is the key; it is the value that was shown with it.",
        {"return X, values[each, asked]": "return X, keys[each, asked]"},
    ),
    Mistake(
        "recall_batch",
        "answer_is_the_place",
        "the answer is which pair was asked for; it is that pair's value.",
        {"return X, values[each, asked]": "return X, asked"},
    ),
    Mistake(
        "recall_batch",
        "answers_one_hot",
        "the answers are one-hot; they are symbols, of shape (B,).",
        {"return X, values[each, asked]": "return X, onehot[values[each, asked]]"},
    ),
    Mistake(
        "attention_weights_backward",
        "scale_missing",
        "planted fault number one: the 1/√d_k of equation (8) is missing, so dQ and dK are √d_k too large.",
        {" / np.sqrt(Q.shape[-1])": ""},
    ),
    Mistake(
        "attention_weights_backward",
        "scale_twice",
        "the gradients are divided by d_k; equation (8) divides by its root, once.",
        {" / np.sqrt(Q.shape[-1])": " / Q.shape[-1]"},
    ),
    Mistake(
        "attention_weights_backward",
        "scale_only_for_dq",
        "dK lacks the 1/√d_k of equation (8): both queries and keys went into the scaled score.",
        {"dS.swapaxes(-1, -2) @ Q": "dS.swapaxes(-1, -2) @ Q * np.sqrt(Q.shape[-1])"},
    ),
    Mistake(
        "attention_weights_backward",
        "diagonal_jacobian",
        "the softmax is differentiated as if each weight depended on its own score alone, A(1 - A). Equation (7) has "
        "the whole row.",
        {DS: "dS = A * (1 - A) * dA / np.sqrt(Q.shape[-1])"},
    ),
    Mistake(
        "attention_weights_backward",
        "row_sum_missing",
        "the sum in equation (7) is missing: the rows of dS must sum to 0.",
        {" - np.sum(A * dA, axis=-1, keepdims=True)": ""},
    ),
    Mistake(
        "attention_weights_backward",
        "mean_for_the_sum",
        "equation (7) subtracts the plain mean of dA; it is the sum weighted with A.",
        {"np.sum(A * dA, axis=-1, keepdims=True)": "np.mean(dA, axis=-1, keepdims=True)"},
    ),
    Mistake(
        "attention_weights_backward",
        "sum_over_the_queries",
        "the sum in equation (7) runs over the queries; the softmax was over the keys, the last axis.",
        {"axis=-1, keepdims=True": "axis=-2, keepdims=True"},
    ),
    Mistake(
        "attention_weights_backward",
        "softmax_skipped",
        "the softmax is left out on the way back: dS is not dA.",
        {DS: "dS = dA / np.sqrt(Q.shape[-1])"},
    ),
    Mistake(
        "attention_weights_backward",
        "dq_and_dk_swapped",
        "dQ and dK are returned in the wrong order.",
        {"return dS @ K, dS.swapaxes(-1, -2) @ Q": "return dS.swapaxes(-1, -2) @ Q, dS @ K"},
    ),
    Mistake(
        "attention_weights_backward",
        "upstream_of_ones",
        "the upstream gradient is not used: this is the gradient of the sum of the weights, which is 0.",
        {DS: "dA = np.ones_like(dA)\n    " + DS},
    ),
    Mistake(
        "memory_attention_backward",
        "query_path_only",
        "M gets its gradient as a query only. It is looked at and read as well: add the first S rows of dN.",
        {'dQ @ p["Wq"].T + dboth[:, :slots]': 'dQ @ p["Wq"].T'},
    ),
    Mistake(
        "memory_attention_backward",
        "query_path_missing",
        "M gets its gradient through keys and values only. It asks as well: add dQ times the transpose of W^Q.",
        {'dQ @ p["Wq"].T + dboth[:, :slots]': "dboth[:, :slots]"},
    ),
    Mistake(
        "memory_attention_backward",
        "value_path_missing",
        "dN lacks the path through the values.",
        {' + dV @ p["Wv"].T': ""},
    ),
    Mistake(
        "memory_attention_backward",
        "key_path_missing",
        "dN lacks the path through the keys.",
        {'dboth = dK @ p["Wk"].T + dV': "dboth = dV"},
    ),
    Mistake(
        "memory_attention_backward",
        "weights_taken_for_constants",
        "the weights are taken for constants: W^Q and W^K get no gradient.",
        {"dQ, dK, dV = join(dQ)": "dQ, dK = 0 * dQ, 0 * dK\n    dQ, dK, dV = join(dQ)"},
    ),
    Mistake(
        "memory_attention_backward",
        "row_cut_at_the_wrong_end",
        "the row's gradient is taken from the top of dN. [M; r] has the row at the bottom.",
        {"dboth[:, :slots], dboth[:, slots:]": "dboth[:, 1:], dboth[:, :1]"},
    ),
    Mistake(
        "memory_attention_backward",
        "matrices_not_transposed",
        "the gradients of the inputs are multiplied by the matrices; it is their transposes.",
        {'p["Wq"].T': 'p["Wq"]', 'p["Wk"].T': 'p["Wk"]', 'p["Wv"].T': 'p["Wv"]'},
    ),
    Mistake(
        "memory_attention_backward",
        "keys_collected_from_the_memory_alone",
        "the gradients of W^K and W^V leave out the input's row: it is multiplied by them too.",
        {
            '"Wk": collect(both, dK), "Wv": collect(both, dV)': (
                '"Wk": collect(M, dK[:, : M.shape[1]]), "Wv": collect(M, dV[:, : M.shape[1]])'
            )
        },
    ),
    Mistake(
        "memory_attention_backward",
        "heads_not_split",
        "the upstream gradient is reshaped straight to (B, h, S, d_k), which mixes slots with columns. Use `split`.",
        {"split(dout, heads)": "dout.reshape(len(dout), heads, dout.shape[1], -1)"},
    ),
    Mistake(
        "memory_attention_backward",
        "averaged_over_the_batch",
        "the matrices' gradients are divided by the batch size. They are sums; the loss decides whether to average.",
        {"collect(M, dQ)": "collect(M, dQ) / len(M)", "collect(both, dK)": "collect(both, dK) / len(M)"},
    ),
    Mistake(
        "memory_attention_backward",
        "wk_and_wv_swapped",
        "the gradients of W^K and W^V are swapped.",
        {'"Wk": collect(both, dK), "Wv": collect(both, dV)': '"Wk": collect(both, dV), "Wv": collect(both, dK)'},
    ),
    Mistake(
        "gates_backward",
        "gate_path_dropped",
        "planted fault number three: the gates count as constants, so neither their parameters nor row nor memory "
        "get a gradient.",
        {"p, row, seen, i, f = cache": "p, row, seen, i, f = cache\n    di, df = 0 * di, 0 * df"},
    ),
    Mistake(
        "gates_backward",
        "tanh_path_lost",
        "the path from the memory through tanh(M) into the gates is missing: dM is not 0.",
        {"return drow, dseen * (1 - seen**2), grads": "return drow, 0 * dseen, grads"},
    ),
    Mistake(
        "gates_backward",
        "derivative_of_tanh_missing",
        "dM lacks the derivative of tanh, 1 - tanh²(M).",
        {"dseen * (1 - seen**2)": "dseen"},
    ),
    Mistake(
        "gates_backward",
        "derivative_with_the_squeezed_memory_squeezed_again",
        "the derivative of tanh is 1 - tanh²(M). The cache holds tanh(M) already; here tanh is taken twice.",
        {"(1 - seen**2)": "(1 - np.tanh(seen) ** 2)"},
    ),
    Mistake(
        "gates_backward",
        "derivative_of_sigmoid_missing",
        "the derivative of the sigmoid is missing: da is di times i(1 - i).",
        {"di * i * (1 - i)": "di", "df * f * (1 - f)": "df"},
    ),
    Mistake(
        "gates_backward",
        "derivative_of_sigmoid_without_the_gate",
        "the derivative of the sigmoid is i(1 - i); the factor in front is missing.",
        {"di * i * (1 - i)": "di * (1 - i)", "df * f * (1 - f)": "df * (1 - f)"},
    ),
    Mistake(
        "gates_backward",
        "row_averaged_over_slots",
        "the row's part is averaged over the slots. Each slot used the whole row: sum.",
        {"da.sum(axis=1, keepdims=True)": "da.mean(axis=1, keepdims=True)"},
    ),
    Mistake(
        "gates_backward",
        "row_from_the_first_slot_only",
        "the row gets the gradient of the first slot only. It was broadcast to all: sum over the slots.",
        {"da.sum(axis=1, keepdims=True)": "da[:, :1]"},
    ),
    Mistake(
        "gates_backward",
        "row_from_the_last_gate_only",
        "drow holds the last gate's part only: two gates read the row, so two gradients add.",
        {"drow += over_slots": "drow = over_slots"},
    ),
    Mistake(
        "gates_backward",
        "memory_from_the_last_gate_only",
        "dM holds the last gate's part only: two gates read the memory, so two gradients add.",
        {"dseen += da": "dseen = da"},
    ),
    Mistake(
        "gates_backward",
        "bias_keeps_its_slots",
        "a bias serves every slot and sequence: sum over both axes, so that shape (D,) is left.",
        {"da.sum(axis=(0, 1))": "da.sum(axis=0)"},
    ),
    Mistake(
        "gates_backward",
        "u_sees_the_row",
        "the gradient of U is collected from the row; U multiplied tanh(M).",
        {"collect(seen, da)": "collect(row, over_slots)"},
    ),
    Mistake(
        "gates_backward",
        "gates_swapped",
        "di is used for the forget gate and df for the input gate.",
        {"di * i * (1 - i)": "df * i * (1 - i)", "df * f * (1 - f)": "di * f * (1 - f)"},
    ),
    Mistake(
        "rmc_step_backward",
        "only_the_forget_path",
        "dM is f ⊙ dM' alone. The memory was used four times, equation (14).",
        {"dM_new * f + dM_gates + dr1 + dM_attention": "dM_new * f"},
    ),
    Mistake(
        "rmc_step_backward",
        "forget_path_missing",
        "dM lacks the straight line, f ⊙ dM'.",
        {"dM_new * f + dM_gates": "dM_gates"},
    ),
    Mistake(
        "rmc_step_backward",
        "gate_path_dropped",
        "planted fault number three: the gates count as constants. They get di = dM' ⊙ c and df = dM' ⊙ M.",
        {"gates_backward(dM_new * c, dM_new * M, gates)": "gates_backward(0 * dM_new, 0 * dM_new, gates)"},
    ),
    Mistake(
        "rmc_step_backward",
        "gates_path_missing_in_dm",
        "dM lacks the path through the gates.",
        {"dM_new * f + dM_gates + dr1": "dM_new * f + dr1"},
    ),
    Mistake(
        "rmc_step_backward",
        "residual_missing_in_dm",
        "dM lacks the residual round attention: r_1 goes straight to M.",
        {"dM_gates + dr1 + dM_attention": "dM_gates + dM_attention"},
    ),
    Mistake(
        "rmc_step_backward",
        "attention_path_missing_in_dm",
        "dM lacks the path through attention.",
        {"dr1 + dM_attention": "dr1"},
    ),
    Mistake(
        "rmc_step_backward",
        "gates_upstream_swapped",
        "di and df are swapped: the input gate multiplied c, the forget gate M.",
        {"gates_backward(dM_new * c, dM_new * M, gates)": "gates_backward(dM_new * M, dM_new * c, gates)"},
    ),
    Mistake(
        "rmc_step_backward",
        "tanh_skipped",
        "the tanh of the candidate is skipped: dy has the factor 1 - c².",
        {"dM_new * i * (1 - c**2)": "dM_new * i"},
    ),
    Mistake(
        "rmc_step_backward",
        "input_gate_skipped",
        "dy lacks the input gate: c was multiplied by i.",
        {"dM_new * i * (1 - c**2)": "dM_new * (1 - c**2)"},
    ),
    Mistake(
        "rmc_step_backward",
        "residual_of_the_network_missing",
        "the gradient of u lacks the residual round the network, r_2.",
        {'du = dr2 + dhidden @ p["W1"].T': 'du = dhidden @ p["W1"].T'},
    ),
    Mistake(
        "rmc_step_backward",
        "relu_ignored",
        "the ReLU is ignored on the way back: where it gave 0, the gradient is 0.",
        {" * (hidden > 0)": ""},
    ),
    Mistake(
        "rmc_step_backward",
        "row_from_attention_only",
        "the row's gradient lacks the gates' part: the row was used twice.",
        {"(drow_gates + drow_attention)": "drow_attention"},
    ),
    Mistake(
        "rmc_step_backward",
        "row_from_gates_only",
        "the row's gradient lacks the attention's part: the row was used twice.",
        {"(drow_gates + drow_attention)": "drow_gates"},
    ),
    Mistake(
        "rmc_step_backward",
        "attention_after_the_norm",
        "attention gets the gradient from before LN_1's backward pass; it gets r_1, from behind it.",
        {"memory_attention_backward(dr1, attention)": "memory_attention_backward(du, attention)"},
    ),
    Mistake(
        "rmc_backward",
        "state_detached",
        "planted fault number two: the memory is detached between steps. Add the gradient that step t + 1 sends back.",
        {UP: "dmemories[:, t], cache[t]"},
    ),
    Mistake(
        "rmc_backward",
        "grads_overwritten",
        "the parameters' gradients hold one step only. All steps share the parameters: sum.",
        {"grads = {name: grads.get(name, 0) + g for name, g in of_step.items()}": "grads = of_step"},
    ),
    Mistake(
        "rmc_backward",
        "grads_averaged_over_time",
        "the parameters' gradients are averaged over time; equation (15) has a sum.",
        {"dM, grads": "dM, {name: g / len(cache) for name, g in grads.items()}"},
    ),
    Mistake(
        "rmc_backward",
        "walked_forwards",
        "the steps are walked in the order of time; the gradient comes from the end.",
        {"reversed(range(len(cache)))": "range(len(cache))", "dX[::-1]": "dX"},
    ),
    Mistake(
        "rmc_backward",
        "dx_in_reverse",
        "dX is in the order in which it was computed, last step first.",
        {"dX[::-1]": "dX"},
    ),
    Mistake(
        "rmc_backward",
        "upstream_only_at_the_end",
        "only the last step's upstream gradient is used. A loss may look at every memory.",
        {UP: "(dmemories[:, t] if t == len(cache) - 1 else 0) + dM, cache[t]"},
    ),
    Mistake(
        "rmc_backward",
        "last_upstream_counted_each_step",
        "the last step's upstream gradient is added in every step; each has its own.",
        {UP: "dmemories[:, -1] + dM, cache[t]"},
    ),
    Mistake(
        "rmc_backward",
        "carried_gradient_added_up",
        "the carried gradient is added to itself from step to step. What a step returns already holds all that came "
        "from behind it.",
        {
            "dx, dM, of_step = rmc_step_backward(dmemories[:, t] + dM, cache[t])": (
                "dx, back, of_step = rmc_step_backward(dmemories[:, t] + dM, cache[t])\n        dM = dM + back"
            )
        },
    ),
    Mistake(
        "rmc_backward",
        "last_step_left_out",
        "the last step is left out.",
        {"reversed(range(len(cache)))": "reversed(range(max(1, len(cache) - 1)))"},
    ),
    Mistake(
        "rmc_backward",
        "initial_memory_gets_the_upstream",
        "the gradient of M_0 is what the first step sends back, and nothing is added to it.",
        {"dM, grads": "dM + dmemories[:, 0], grads"},
    ),
    Mistake(
        "grad_check",
        "absolute_error",
        "the error is absolute. Divide by the larger of the two sizes, so that it means the same for small gradients "
        "and large ones.",
        {"np.abs(claimed - slopes).max() / size)": "np.abs(claimed - slopes).max())"},
    ),
    Mistake(
        "grad_check",
        "one_sided",
        "the difference is one-sided: its error is of order ε. Go up and down.",
        {"for step in (eps, -eps)": "for step in (eps, 0.0)", "/ (2 * eps)": "/ eps"},
    ),
    Mistake(
        "grad_check",
        "divided_by_eps",
        "the ends are 2ε apart; this divides by ε.",
        {"/ (2 * eps)": "/ eps"},
    ),
    Mistake(
        "grad_check",
        "parameters_not_restored",
        "the parameters are not what they were before. Move a copy, or put the entry's old value back.",
        {
            "                moved = array.copy()\n": "                moved = array\n",
        },
    ),
    Mistake(
        "grad_check",
        "restored_by_adding_and_subtracting",
        "adding ε and subtracting it again leaves rounding behind. Keep the old value, or move a copy.",
        {
            "                moved = array.copy()\n": "                moved = array\n",
            "ends.append(loss_fn(params | {name: moved}))": (
                "ends.append(loss_fn(params))\n                moved.flat[place] -= step"
            ),
        },
    ),
    Mistake(
        "grad_check",
        "first_entries_only",
        "the entries moved are the first ones, not those asked for.",
        {"enumerate(entries[name])": "enumerate(range(len(entries[name])))"},
    ),
    Mistake(
        "grad_check",
        "compared_with_all_entries",
        "the size takes all entries of the gradient; only those moved count.",
        {"np.abs(claimed).max()": "np.abs(grads[name]).max()"},
    ),
    Mistake(
        "grad_check",
        "elementwise_relative",
        "each entry is divided by its own size, so a tiny correct entry looks wrong. Equation (16) divides the "
        "largest difference by the largest gradient.",
        {
            "np.abs(claimed - slopes).max() / size)": (
                "(np.abs(claimed - slopes) / np.maximum(np.abs(claimed), np.abs(slopes))).max())"
            )
        },
    ),
    Mistake(
        "grad_check",
        "divided_by_the_claim_alone",
        "the error is divided by the claimed gradient alone, which fails where that is wrongly zero.",
        {"max(np.abs(claimed).max(), np.abs(slopes).max())": "np.abs(claimed).max() + 1e-300"},
    ),
    Mistake(
        "grad_check",
        "divided_by_the_sum",
        "the error is divided by the sum of the two sizes; equation (16) takes the larger one.",
        {"max(np.abs(claimed).max(), np.abs(slopes).max())": "(np.abs(claimed).max() + np.abs(slopes).max())"},
    ),
    Mistake(
        "grad_check",
        "nan_where_all_is_zero",
        "where gradient and slopes are all zero this divides 0 by 0. The error is 0 then.",
        {" if size > 0 else 0.0": ""},
    ),
    Mistake(
        "grad_check",
        "eps_ignored",
        "ε is fixed; use the argument `eps`.",
        {"eps, -eps": "1e-5, -1e-5", "2 * eps": "2e-5"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "memory_starts_at_zero",
        "the memory starts at zero, so all slots stay equal for ever. It starts as the identity.",
        {"torch.eye(self.slots, self.size, dtype=X.dtype)": "torch.zeros(self.slots, self.size, dtype=X.dtype)"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "memory_starts_at_one",
        "the memory starts as ones, so all slots stay equal for ever. It starts as the identity.",
        {"torch.eye(self.slots, self.size, dtype=X.dtype)": "torch.ones(self.slots, self.size, dtype=X.dtype)"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "forget_constant_missing",
        "the constant 1 of the forget gate is missing; it is not in the bias.",
        {"self.Uf(seen) + 1)": "self.Uf(seen))"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "memory_not_squeezed",
        "the gates see M itself; they see tanh(M).",
        {"seen = torch.tanh(M)": "seen = M"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "state_detached",
        "planted fault number two: the memory is detached between steps, so no gradient goes back in time.",
        {"self.step(x, M)": "self.step(x, M.detach())"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "scaled_by_the_whole_width",
        "the scores are divided by √D; a head's keys have d_k = D / h columns.",
        {"math.sqrt(Q.shape[-1])": "math.sqrt(M.shape[-1])"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "not_scaled",
        "the scores are not divided by √d_k.",
        {" / math.sqrt(Q.shape[-1])": ""},
    ),
    Mistake(
        "RelationalMemoryCore",
        "heads_mixed",
        "the reshape goes straight to (B, h, T, d_k), which mixes slots with columns.",
        {TORCH_Q: "Q, K, V = (W(z).reshape(len(z), self.heads, z.shape[1], -1) for W, z in sources)"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "softmax_over_slots",
        "the softmax runs over the slots that ask; it runs over what is looked at, the last axis.",
        {"dim=-1)\n        u": "dim=-2)\n        u"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "input_not_looked_at",
        "keys and values come from the slots alone: the input reaches the gates only.",
        {"torch.cat([M, row], dim=1)": "M"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "residual_missing",
        "M is not added to what attention found, equation (3).",
        {"self.norm1(M + ": "self.norm1("},
    ),
    Mistake(
        "RelationalMemoryCore",
        "candidate_not_squeezed",
        "the tanh of equation (4) is missing.",
        {"i * torch.tanh(y)": "i * y"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "gates_from_the_new_memory",
        "the gates look at the new content; they look at the memory from before the step.",
        {"self.gates(row, M)": "self.gates(row, y)"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "own_number_of_slots",
        "`step` fails for another number of slots than the core's own. Take it from M.",
        {"both = torch.cat([M, row], dim=1)": "both = torch.cat([M.view(len(x), self.slots, -1), row], dim=1)"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "last_memory_only",
        "only the last memory is returned; the output has those of all steps.",
        {"return torch.stack(memories, dim=1),": "return M,"},
    ),
    Mistake(
        "RelationalMemoryCore",
        "time_first",
        "time is the first axis of what is returned; the batch is.",
        {"torch.stack(memories, dim=1)": "torch.stack(memories)"},
    ),
    Mistake(
        "train_step",
        "gradients_not_cleared",
        "the gradients of the last update are still there: they add up. Clear them before `backward`.",
        {"    optimiser.zero_grad()\n": ""},
    ),
    Mistake(
        "train_step",
        "cleared_after_backward",
        "the gradients are cleared after they were computed, so nothing is learnt.",
        {
            "    optimiser.zero_grad()\n    loss.backward()\n": (
                "    loss.backward()\n    optimiser.zero_grad(set_to_none=False)\n"
            )
        },
    ),
    Mistake(
        "train_step",
        "not_clipped",
        "the update is made with a gradient that is not clipped: clipping is missing, or comes after the step.",
        {"model.parameters(), clip)": 'model.parameters(), float("inf"))'},
    ),
    Mistake(
        "train_step",
        "values_clipped",
        "every entry is clipped by itself, which changes the direction. Equation (18) scales all by one factor.",
        {
            "    optimiser.step()": (
                "    optimiser.zero_grad()\n"
                "    nn.functional.cross_entropy(model(X), y).backward()\n"
                "    nn.utils.clip_grad_value_(model.parameters(), clip)\n"
                "    optimiser.step()"
            ),
        },
    ),
    Mistake(
        "train_step",
        "each_parameter_clipped_by_itself",
        "each parameter is clipped by its own norm. Equation (18) takes the norm of all together.",
        {
            "norm = nn.utils.clip_grad_norm_(model.parameters(), clip)": (
                'norm = nn.utils.clip_grad_norm_(model.parameters(), float("inf"))\n'
                "    for parameter in model.parameters():\n"
                "        nn.utils.clip_grad_norm_([parameter], clip)"
            )
        },
    ),
    Mistake(
        "train_step",
        "always_scaled_to_clip",
        "small gradients are scaled up to the norm `clip`; the minimum in equation (18) leaves them as they are.",
        {
            "    optimiser.step()": (
                "    for parameter in model.parameters():\n"
                "        parameter.grad *= max(1.0, clip / norm.item())\n"
                "    optimiser.step()"
            )
        },
    ),
    Mistake(
        "train_step",
        "summed_loss",
        "the loss is summed over the batch; it is the mean.",
        {"cross_entropy(model(X), y)": 'cross_entropy(model(X), y, reduction="sum")'},
    ),
    Mistake(
        "train_step",
        "norm_after_clipping",
        "the norm returned is that after clipping; return the one from before.",
        {"loss.item(), norm.item()": "loss.item(), min(norm.item(), clip)"},
    ),
    Mistake(
        "train_step",
        "tensors_returned",
        "what is returned are tensors, and the loss keeps its graph alive. Return floats.",
        {"loss.item(), norm.item()": "loss, norm"},
    ),
    Mistake(
        "train_step",
        "clip_ignored",
        "the gradient is always clipped to 1; use the argument `clip`.",
        {"model.parameters(), clip)": "model.parameters(), 1.0)"},
    ),
    Mistake(
        "train_step",
        "softmax_before_cross_entropy",
        "the loss gets probabilities. `cross_entropy` takes logits and does the softmax itself.",
        {"cross_entropy(model(X), y)": "cross_entropy(model(X).softmax(dim=1), y)"},
    ),
]
