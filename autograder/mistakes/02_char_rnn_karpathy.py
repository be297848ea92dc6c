"""What learners may write instead in 02, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

MISTAKES = [
    Mistake(
        "make_batches",
        "targets_are_the_inputs",
        "y is the same as x. The target of every character is the one after it.",
        {"ids[1 : used + 1]": "ids[:used]"},
    ),
    Mistake(
        "make_batches",
        "targets_before_the_inputs",
        "y holds the character before each input; the network would learn to read backwards.",
        {"ids[1 : used + 1]": "np.roll(ids, 1)[:used]"},
    ),
    Mistake(
        "make_batches",
        "targets_two_ahead",
        "y is shifted by two characters: the target of ids[i] is ids[i + 1].",
        {"ids[1 : used + 1]": "np.append(ids, ids[0])[2 : used + 2]"},
    ),
    Mistake(
        "make_batches",
        "last_target_wraps",
        "the very last target is the first character of the text. One more character is needed at the end instead.",
        {"ids[1 : used + 1]": "np.roll(ids[:used], -1)"},
    ),
    Mistake(
        "make_batches",
        "rows_follow_each_other",
        "within a chunk the rows follow each other in the text, so row b of the next chunk does not continue row b of "
        "this one, and a carried state would mean nothing. Cut into streams first.",
        {"reshape(B, N, T)": "reshape(N, B, T).swapaxes(0, 1)"},
    ),
    Mistake(
        "make_batches",
        "streams_first",
        "the arrays are in the order (B, N, T). Chunks come first: (N, B, T).",
        {"x.swapaxes(0, 1), y.swapaxes(0, 1)": "x, y"},
    ),
    Mistake(
        "make_batches",
        "characters_interleaved",
        "neighbours in a row are B characters apart in the text: the streams are interleaved. Each is one piece of "
        "text.",
        {
            "ids[:used].reshape(B, N, T)": "ids[:used].reshape(N * T, B).T.reshape(B, N, T)",
            "ids[1 : used + 1].reshape(B, N, T)": "ids[1 : used + 1].reshape(N * T, B).T.reshape(B, N, T)",
        },
    ),
    Mistake(
        "make_batches",
        "a_chunk_too_few",
        "the last chunk is missing where the text fits exactly. N counts inputs, and there are len - 1 of them.",
        {"(len(ids) - 1) // (B * T)": "max(1, (len(ids) - 2) // (B * T))"},
    ),
    Mistake(
        "ngram_bits",
        "nats",
        "this is in nats. Bits take the logarithm to base 2.",
        {"np.log2(p)": "np.log(p)"},
    ),
    Mistake(
        "ngram_bits",
        "summed",
        "this is the sum over the characters; equation (3) divides by their number.",
        {"np.mean(np.log2(p))": "np.sum(np.log2(p))"},
    ),
    Mistake(
        "ngram_bits",
        "counts_of_the_test_text",
        "the counts are those of the test text: the model has seen what it is asked. Count in the training text.",
        {"windows(train, m)": "windows(test, m)"},
    ),
    Mistake(
        "ngram_bits",
        "no_shorter_context",
        "all orders are backed by 1/V alone. In equation (2) P_m leans on P_{m-1}, not on the uniform distribution.",
        {"k * p": "k / V"},
    ),
    Mistake(
        "ngram_bits",
        "context_without_a_follower",
        "the end of the training text is counted as a context, but nothing follows it: N(s) is the sum of the counts "
        "of "
        "what follows, so that the probabilities add up to 1.",
        {
            "Counter(run[:-1] for run in windows(train, m))": "Counter(windows(train, m - 1) if m > 1 else [()] * "
            "len(train))"
        },
    ),
    Mistake(
        "ngram_bits",
        "k_missing_below",
        "k is added above the line and not below it, so the probabilities add up to more than 1.",
        {
            "(np.array([contexts[run[:-1]] for run in scored]) + k)": "np.array([max(contexts[run[:-1]], 1) "
            "for run in scored])",
        },
    ),
    Mistake(
        "ngram_bits",
        "add_k_for_every_character",
        "this adds k for each of the V characters, as add-k smoothing does. In equation (2) the shorter context is "
        "worth "
        "k observations in all.",
        {"for run in scored]) + k)": "for run in scored]) + k * V)", "k * p": "k"},
    ),
    Mistake(
        "ngram_bits",
        "one_order_short",
        "the longest context is not used: m goes up to n, and n included.",
        {"range(1, n + 1)": "range(1, n)"},
    ),
    Mistake(
        "ngram_bits",
        "wrong_end_of_the_test_text",
        "for short contexts the wrong characters are scored: each run must *end* in the scored character, so it is the "
        "beginning of the test text that is dropped.",
        {"windows(test[n - m :], m)": "windows(test[: len(test) - n + m], m)"},
    ),
    Mistake(
        "rnn_forward",
        "recurrent_weights_transposed",
        "Wh is transposed. Examples are rows here, so the state stands on the left: h Wh.",
        {"h @ Wh": "h @ Wh.T"},
    ),
    Mistake(
        "rnn_forward",
        "first_state_ignored",
        "h0 is not used: the first step starts from zero instead.",
        {"h, states = h0, []": "h, states = np.zeros_like(h0), []"},
    ),
    Mistake(
        "rnn_forward",
        "state_not_carried",
        "every step starts from h0: carry the state from one step to the next.",
        {"h @ Wh": "h0 @ Wh"},
    ),
    Mistake(
        "rnn_forward",
        "bias_missing",
        "the bias bh is not added in equation (4).",
        {" + bh": ""},
    ),
    Mistake(
        "rnn_forward",
        "no_tanh",
        "the states are not squashed: equation (4) takes their tanh.",
        {"np.tanh(Wx[x[:, t]] + h @ Wh + bh)": "Wx[x[:, t]] + h @ Wh + bh"},
    ),
    Mistake(
        "rnn_forward",
        "sigmoid_for_tanh",
        "the non-linearity is a sigmoid, so no state is negative. Equation (4) takes tanh.",
        {"np.tanh(Wx[x[:, t]] + h @ Wh + bh)": "1 / (1 + np.exp(-(Wx[x[:, t]] + h @ Wh + bh)))"},
    ),
    Mistake(
        "rnn_forward",
        "input_outside_the_tanh",
        "the input is added after the tanh. In equation (4) it is inside, with the rest.",
        {"np.tanh(Wx[x[:, t]] + h @ Wh + bh)": "Wx[x[:, t]] + np.tanh(h @ Wh + bh)"},
    ),
    Mistake(
        "rnn_forward",
        "one_character_for_all_steps",
        "every step reads the first character: step t reads x[:, t].",
        {"Wx[x[:, t]]": "Wx[x[:, 0]]"},
    ),
    Mistake(
        "rnn_forward",
        "time_first",
        "the states are stacked along axis 0, time first. Hs is batch first: (B, T, H).",
        {"np.stack(states, axis=1)": "np.stack(states)"},
    ),
    Mistake(
        "rnn_forward",
        "last_state_only",
        "only the last state is returned; Hs holds that of every step, shape (B, T, H).",
        {"Hs = np.stack(states, axis=1)": "Hs = h"},
    ),
    Mistake(
        "rnn_forward",
        "states_before_reading",
        "the states are those before each character: h0 comes first and the last one is missing.",
        {"states.append(h)": "pass", "h = np.tanh(": "states.append(h)\n        h = np.tanh("},
    ),
    Mistake(
        "bits_per_char",
        "nats",
        "this is in nats. One bit is ln 2 nats: divide.",
        {" / np.log(2)": ""},
    ),
    Mistake(
        "bits_per_char",
        "times_ln_2",
        "nats are multiplied by ln 2. There are more bits than nats, so divide.",
        {"/ np.log(2)": "* np.log(2)"},
    ),
    Mistake(
        "bits_per_char",
        "state_reset_in_every_chunk",
        "every chunk starts from the state zero, so the result depends on T. Carry the state.",
        {"        h = Hs[:, -1]\n": ""},
    ),
    Mistake(
        "bits_per_char",
        "mean_of_means",
        "each chunk counts the same, also a shorter last one. Add up the nats and divide once by the number of "
        "characters.",
        {
            "y].sum()": "y].mean()",
            "nats / len(targets)": "nats / len(range(0, len(inputs), T))",
        },
    ),
    Mistake(
        "bits_per_char",
        "incomplete_chunk_dropped",
        "the characters after the last full chunk are not scored.",
        {"range(0, len(inputs), T)": "range(0, max(1, len(inputs) - T + 1), T)"},
    ),
    Mistake(
        "bits_per_char",
        "first_character_counted",
        "the sum is divided by the length of the text, but its first character is not scored.",
        {"nats / len(targets)": "nats / len(ids)"},
    ),
    Mistake(
        "bits_per_char",
        "scores_the_input",
        "this is the surprise at the character that was just read, not at the one that follows.",
        {"logp[np.arange(len(y)), y]": "logp[np.arange(len(y)), x]"},
    ),
    Mistake(
        "bits_per_char",
        "softmax_over_time",
        "the softmax is taken over time. The probabilities of the V characters add up to 1 at every step.",
        {"log_softmax(readout(params, Hs[0]))": "log_softmax(readout(params, Hs[0]).T).T"},
    ),
    Mistake(
        "bits_per_char",
        "log_of_a_softmax",
        "the logarithm of a probability that has underflowed is infinite. Take log_softmax, which never leaves "
        "logarithms.",
        {"log_softmax(readout(params, Hs[0]))": "np.log(np.exp(log_softmax(readout(params, Hs[0]))))"},
    ),
    Mistake(
        "sample",
        "times_temperature",
        "the scores are multiplied by the temperature. Divide: a small temperature must sharpen.",
        {"/ temperature": "* temperature"},
    ),
    Mistake(
        "sample",
        "temperature_without_effect",
        "the temperature has no effect. (If probabilities are divided by it, it cancels when they are normalised.) "
        "Divide the scores, before the softmax.",
        {
            "np.exp(log_softmax(readout(params, h) / temperature))": "np.exp(log_softmax(readout(params, h))) / "
            "temperature\n"
            "        p = p / p.sum(axis=1, keepdims=True)",
        },
    ),
    Mistake(
        "sample",
        "state_not_carried",
        "every step starts from the first state: carry h.",
        {"h = Hs[:, -1]": "h_t = Hs[:, -1]", "readout(params, h)": "readout(params, h_t)"},
    ),
    Mistake(
        "sample",
        "reads_the_first_character_again",
        "every step reads the first character. Step t + 1 reads what step t drew.",
        {"rnn_forward(params, x[:, None], h)": "rnn_forward(params, first[:, None], h)"},
    ),
    Mistake(
        "sample",
        "argmax",
        "the most probable character is taken, whatever u is. Equation (7) draws.",
        {"np.minimum(passed.sum(axis=1), p.shape[1] - 1)": "p.argmax(axis=1)"},
    ),
    Mistake(
        "sample",
        "argmax_fed_back",
        "what is read next is the most probable character, not the one that was drawn and written.",
        {
            "x = np.minimum": "drawn = np.minimum",
            "written.append(x)": "written.append(drawn)\n        x = p.argmax(axis=1)",
        },
    ),
    Mistake(
        "sample",
        "one_to_the_left",
        "the draws are one character too low: the index is the number of running sums that u has passed.",
        {"passed.sum(axis=1)": "np.maximum(passed.sum(axis=1) - 1, 0)"},
    ),
    Mistake(
        "sample",
        "draws_an_impossible_character",
        "u = 0 draws a character whose probability is 0. Equation (7) asks for u < the running sum, strictly.",
        {"<= u_t": "< u_t"},
    ),
    Mistake(
        "sample",
        "nothing_is_above_u",
        "where rounding leaves the whole sum below u, this draws character 0. It should be the last one.",
        {
            "np.minimum(passed.sum(axis=1), p.shape[1] - 1)": "(~passed).argmax(axis=1)",
        },
    ),
    Mistake(
        "sample",
        "not_capped",
        "where rounding leaves the whole sum below u, this draws the character V, which does not exist.",
        {"np.minimum(passed.sum(axis=1), p.shape[1] - 1)": "passed.sum(axis=1)"},
    ),
    Mistake(
        "sample",
        "mirrored",
        "u is measured from the other end: this is what 1 - u would draw.",
        {"<= u_t[:, None]": "<= 1 - u_t[:, None]"},
    ),
    Mistake(
        "sample",
        "one_draw_for_all_rows",
        "all rows use the draws of the first. Each row of u belongs to one text.",
        {"<= u_t[:, None]": "<= u_t[:1, None]"},
    ),
    Mistake(
        "sample",
        "running_sum_over_the_batch",
        "the running sums go down the batch. Each row has its own, over the V characters: axis 1.",
        {"np.cumsum(p, axis=1)": "np.cumsum(p, axis=0)"},
    ),
    Mistake(
        "rnn_backward",
        "nothing_travels_through_time",
        "what step t+1 sends back to the state is dropped: right for T = 1, wrong for T = 2. In equation (8) it is "
        "added.",
        {"dHs[:, t] + dh": "dHs[:, t]"},
    ),
    Mistake(
        "rnn_backward",
        "last_gradient_only",
        "only the gradient of the last state is used. Every dHs[:, t] joins what comes back from step t+1.",
        {"dHs[:, t] + dh": "(dHs[:, t] if t == x.shape[1] - 1 else 0) + dh"},
    ),
    Mistake(
        "rnn_backward",
        "tanh_derivative_missing",
        "the gradient does not go through tanh: equation (8) multiplies by 1 - h².",
        {" * (1 - Hs[:, t] ** 2)": ""},
    ),
    Mistake(
        "rnn_backward",
        "tanh_of_the_state",
        "1 - tanh² is taken of the state, which is a tanh already. The derivative is 1 - h².",
        {"(1 - Hs[:, t] ** 2)": "(1 - np.tanh(Hs[:, t]) ** 2)"},
    ),
    Mistake(
        "rnn_backward",
        "tanh_derivative_of_the_state_before",
        "the derivative of tanh is taken at the state before the step. It belongs to h_t, the output of this step.",
        {
            "(1 - Hs[:, t] ** 2)\n        before = Hs[:, t - 1] if t > 0 else h0": "(1 - (Hs[:, t - 1] if t > 0 else "
            "h0) ** 2)"
            "\n        before = Hs[:, t - 1] if t > 0 else h0",
        },
    ),
    Mistake(
        "rnn_backward",
        "sigmoid_derivative",
        "h(1 - h) is the derivative of a sigmoid. That of tanh is 1 - h².",
        {"(1 - Hs[:, t] ** 2)": "Hs[:, t] * (1 - Hs[:, t])"},
    ),
    Mistake(
        "rnn_backward",
        "repeated_characters_lost",
        "where the same character stands twice in a step, only one of the two reaches dWx: `dWx[x] += …` does not add "
        "twice. np.add.at does.",
        {'np.add.at(grads["Wx"], x[:, t], da)': 'grads["Wx"][x[:, t]] += da'},
    ),
    Mistake(
        "rnn_backward",
        "states_after_for_states_before",
        "dWh is made of the states after each step. Wh multiplied the states before: h_{t-1}.",
        {"before.T @ da": "Hs[:, t].T @ da"},
    ),
    Mistake(
        "rnn_backward",
        "first_state_ignored",
        "dWh lacks what the first state contributes: before step 1 the state was h0.",
        {"Hs[:, t - 1] if t > 0 else h0": "Hs[:, t - 1] if t > 0 else np.zeros_like(h0)"},
    ),
    Mistake(
        "rnn_backward",
        "recurrent_gradient_transposed",
        "dWh is transposed: the state before is on the left, (H, B)(B, H).",
        {"before.T @ da": "da.T @ before"},
    ),
    Mistake(
        "rnn_backward",
        "recurrent_weights_not_transposed",
        "the gradient is sent back through Wh. Going backwards it meets the transpose.",
        {"da @ Wh.T": "da @ Wh"},
    ),
    Mistake(
        "rnn_backward",
        "before_the_tanh",
        "what is handed back has not gone through tanh: it is da that meets Wh, not dh.",
        {"dh = da @ Wh.T": "dh = (dHs[:, t] + dh) @ Wh.T"},
    ),
    Mistake(
        "rnn_backward",
        "weights_of_one_step",
        "dWh and dbh are those of a single step. The weights are used in every step, so their gradients add.",
        {'grads["Wh"] +=': 'grads["Wh"] =', 'grads["bh"] +=': 'grads["bh"] ='},
    ),
    Mistake(
        "rnn_backward",
        "averaged_over_the_batch",
        "the gradients of the weights are divided by the batch size. The mean belongs to the loss, which is not part "
        "of "
        "this function.",
        {
            "    return grads, dh": "    return {name: g / len(x) for name, g in grads.items()}, dh",
        },
    ),
    Mistake(
        "rnn_backward",
        "clipped",
        "gradients are clipped inside the backward pass. A clipped gradient is no gradient; clipping is a step of "
        "its own.",
        {
            "    return grads, dh": "    return {name: np.clip(g, -1, 1) for name, g in grads.items()}, dh",
        },
    ),
    Mistake(
        "rnn_backward",
        "forward_in_time",
        "the loop runs forward in time. The last step's gradient is known first: go from T to 1.",
        {"reversed(range(x.shape[1]))": "range(x.shape[1])"},
    ),
    Mistake(
        "rnn_backward",
        "upstream_of_ones",
        "the upstream gradient dHs is not used: this is the gradient of the sum of all states.",
        {"Wx, Wh, x, h0, Hs = cache": "Wx, Wh, x, h0, Hs = cache\n    dHs = np.ones_like(dHs)"},
    ),
    Mistake(
        "loss_and_grads",
        "loss_summed",
        "the loss and the gradients are sums over the characters of the chunk; equation (10) takes the mean.",
        {" / y.size": ""},
    ),
    Mistake(
        "loss_and_grads",
        "gradient_not_averaged",
        "the loss is a mean, its gradient is that of the sum: 1/(BT) belongs in dz too.",
        {"(np.exp(logp) - onehot) / y.size": "np.exp(logp) - onehot"},
    ),
    Mistake(
        "loss_and_grads",
        "averaged_over_time_only",
        "loss and gradients are divided by T alone; the mean is over all B T characters.",
        {"/ y.size": "/ y.shape[1]"},
    ),
    Mistake(
        "loss_and_grads",
        "averaged_over_the_batch_only",
        "loss and gradients are divided by B alone; the mean is over all B T characters.",
        {"/ y.size": "/ y.shape[0]"},
    ),
    Mistake(
        "loss_and_grads",
        "loss_in_bits",
        "the loss is in bits. Equation (10) is in nats, and so is its gradient.",
        {"return float(loss)": "return float(loss / np.log(2))"},
    ),
    Mistake(
        "loss_and_grads",
        "targets_not_subtracted",
        "dz lacks the targets: it is (p - Y) / (B T).",
        {"(np.exp(logp) - onehot) / y.size": "np.exp(logp) / y.size"},
    ),
    Mistake(
        "loss_and_grads",
        "sign",
        "the gradient has the wrong sign: it would climb. dz is p - Y.",
        {"(np.exp(logp) - onehot)": "(onehot - np.exp(logp))"},
    ),
    Mistake(
        "loss_and_grads",
        "gradient_of_the_log_probabilities",
        "dz is made of the logarithms of the probabilities; equation (10) has p itself.",
        {"(np.exp(logp) - onehot)": "(logp - onehot)"},
    ),
    Mistake(
        "loss_and_grads",
        "inputs_for_targets",
        "the loss is that of the characters that were read. The targets are y.",
        {"[y]": "[x]"},
    ),
    Mistake(
        "loss_and_grads",
        "first_state_ignored",
        "the chunk starts from the state zero: h0 is not used.",
        {"rnn_forward(params, x, h0)": "rnn_forward(params, x, np.zeros_like(h0))"},
    ),
    Mistake(
        "loss_and_grads",
        "first_state_returned",
        "the state that is returned is the one before the chunk. The next chunk needs the one after it.",
        {"grads, Hs[:, -1]": "grads, h0"},
    ),
    Mistake(
        "loss_and_grads",
        "readout_reads_one_step_only",
        "dWy is that of the last step; the readout is used at every step, so its gradients add.",
        {"np.tensordot(Hs, dz, axes=((0, 1), (0, 1)))": "Hs[:, -1].T @ dz[:, -1]"},
    ),
    Mistake(
        "loss_and_grads",
        "bias_of_one_row",
        "dby still has a row per step. A bias that is added everywhere gets the sum over everything, shape (V,).",
        {"dz.sum(axis=(0, 1))": "dz.sum(axis=0)"},
    ),
    Mistake(
        "loss_and_grads",
        "softmax_unprotected",
        "with large scores this is infinite or NaN. Take log_softmax, and never the logarithm of a probability.",
        {"onehot * logp": "onehot * np.log(np.exp(logp))"},
    ),
    Mistake(
        "clip_by_global_norm",
        "each_array_by_itself",
        "every array is clipped by its own norm, which turns the direction. One norm over all of them.",
        {
            "{name: factor * g for name, g in grads.items()}": "{name: g * max_norm / max(np.linalg.norm(g), max_norm) "
            "for name, g in grads.items()}",
        },
    ),
    Mistake(
        "clip_by_global_norm",
        "each_value_by_itself",
        "every value is clipped. Equation (12) scales all of them by one factor.",
        {"factor * g": "np.clip(g, -max_norm, max_norm)"},
    ),
    Mistake(
        "clip_by_global_norm",
        "scaled_up",
        "short gradients are scaled *up* to max_norm. The factor is never above 1.",
        {"max_norm / max(norm, max_norm)": "max_norm / norm"},
    ),
    Mistake(
        "clip_by_global_norm",
        "not_squared_root",
        "the norm lacks its root: this is the sum of squares.",
        {"np.sqrt(sum(np.sum(g**2) for g in grads.values()))": "sum(np.sum(g**2) for g in grads.values())"},
    ),
    Mistake(
        "clip_by_global_norm",
        "sum_of_norms",
        "the norms of the arrays are added. The norm of all together is the root of the sum of their squares.",
        {"np.sqrt(sum(np.sum(g**2) for g in grads.values()))": "sum(np.sqrt(np.sum(g**2)) for g in grads.values())"},
    ),
    Mistake(
        "clip_by_global_norm",
        "largest_value",
        "this is the largest absolute value. Equation (12) has the root of the sum of squares.",
        {
            "np.sqrt(sum(np.sum(g**2) for g in grads.values()))": "max(np.abs(g).max() for g in grads.values())",
        },
    ),
    Mistake(
        "clip_by_global_norm",
        "norm_after_clipping",
        "the norm that is returned is the one after clipping; it should be the one before.",
        {"grads.items()}, norm": "grads.items()}, min(norm, max_norm)"},
    ),
    Mistake(
        "clip_by_global_norm",
        "always_unit_length",
        "the result has length 1 where it should have length max_norm.",
        {"max_norm / max(norm, max_norm)": "1 / max(norm, 1)"},
    ),
    Mistake(
        "adagrad_step",
        "memory_updated_last",
        "the step uses the memory before this gradient, so the first one divides by almost zero. Update the memory "
        "first.",
        {"np.sqrt(memory[name])": "np.sqrt(memory[name] - grads[name] ** 2)"},
    ),
    Mistake(
        "adagrad_step",
        "nothing_remembered",
        "the memory holds the last squared gradient only; it is a sum over all steps.",
        {"memory[name] + g**2": "g**2"},
    ),
    Mistake(
        "adagrad_step",
        "leaky_memory",
        "the memory forgets: this is RMSprop. Adagrad adds up all squared gradients with weight 1.",
        {"memory[name] + g**2": "0.9 * memory[name] + 0.1 * g**2"},
    ),
    Mistake(
        "adagrad_step",
        "gradients_not_squared",
        "the memory adds up the gradients' sizes. Equation (13) adds their squares.",
        {"g**2": "np.abs(g)"},
    ),
    Mistake(
        "adagrad_step",
        "no_root",
        "the step is divided by the memory itself; equation (13) takes its root.",
        {"(np.sqrt(memory[name]) + 1e-8)": "(memory[name] + 1e-8)"},
    ),
    Mistake(
        "adagrad_step",
        "small_number_inside_the_root",
        "the 1e-8 is inside the root, where it acts like 1e-4. min-char-rnn has it there; equation (13) has it "
        "outside.",
        {"np.sqrt(memory[name]) + 1e-8": "np.sqrt(memory[name] + 1e-8)"},
    ),
    Mistake(
        "adagrad_step",
        "small_number_missing",
        "a weight that has never had a gradient becomes NaN: 0/0. Add 1e-8 to the root.",
        {"(np.sqrt(memory[name]) + 1e-8)": "np.sqrt(memory[name])"},
    ),
    Mistake(
        "adagrad_step",
        "uphill",
        "the step goes uphill: subtract it.",
        {"params[name] - step": "params[name] + step"},
    ),
    Mistake(
        "adagrad_step",
        "one_memory_for_all",
        "all weights of an array share one step size. The memory is kept element by element.",
        {"np.sqrt(memory[name])": "np.sqrt(memory[name].sum())"},
    ),
    Mistake(
        "adagrad_step",
        "in_place",
        "the arrays that were given are changed. Return new ones: somebody else may still need the old.",
        {
            "    memory = {name: memory[name] + g**2 for name, g in grads.items()}": "    for name, g in "
            "grads.items():\n"
            "        memory[name] += g**2",
        },
    ),
    Mistake(
        "CharRNN",
        "probabilities_returned",
        "the scores have gone through a softmax. Return them raw: the loss takes their softmax.",
        {"return self.readout(Hs), h": "return self.readout(Hs).softmax(dim=-1), h"},
    ),
    Mistake(
        "CharRNN",
        "log_probabilities_returned",
        "the scores have gone through a log-softmax. Return them raw: the loss takes their softmax.",
        {"return self.readout(Hs), h": "return self.readout(Hs).log_softmax(dim=-1), h"},
    ),
    Mistake(
        "CharRNN",
        "first_state_ignored",
        "the state h is not handed to the layer, so every chunk starts from zero.",
        {"self.rnn(onehot, h)": "self.rnn(onehot)"},
    ),
    Mistake(
        "CharRNN",
        "last_step_only",
        "only the last step is scored; there are scores after every character, shape (B, T, V).",
        {"self.readout(Hs)": "self.readout(Hs[:, -1])"},
    ),
    Mistake(
        "CharRNN",
        "second_tanh",
        "the states go through a second tanh before the readout. nn.RNN has taken it already.",
        {"self.readout(Hs)": "self.readout(Hs.tanh())"},
    ),
    Mistake(
        "CharRNN",
        "detached_inside",
        "the state is detached on its way in, so no gradient reaches it. Where a chunk ends is the business of the "
        "training "
        "loop, not of the model.",
        {"self.rnn(onehot, h)": "self.rnn(onehot, None if h is None else h.detach())"},
    ),
    Mistake(
        "CharRNN",
        "state_returned_without_graph",
        "the state that is returned has no graph. Detach it in the training loop: here it cuts gradients that are "
        "wanted.",
        {"return self.readout(Hs), h": "return self.readout(Hs), h.detach()"},
    ),
    Mistake(
        "CharRNN",
        "time_first",
        "axes are swapped on the way in: with batch_first=True the layer takes (B, T, V) as it is.",
        {
            "Hs, h = self.rnn(onehot, h)": "Hs, h = self.rnn(onehot.reshape(x.shape[1], x.shape[0], -1).transpose(0, "
            "1), h)",
        },
    ),
    Mistake(
        "CharRNN",
        "all_states_as_the_state",
        "the second value holds the states of all steps. The state after the chunk is what the layer returns second, "
        "(1, B, H).",
        {"return self.readout(Hs), h": "return self.readout(Hs), Hs"},
    ),
    Mistake(
        "train_chunk",
        "state_not_detached",
        "the state that is returned still has its graph: the next chunk would go backward through this one a second "
        "time. "
        "Detach it.",
        {"h.detach()": "h"},
    ),
    Mistake(
        "train_chunk",
        "old_gradients_kept",
        "the gradients of earlier chunks are still there when the new ones are added. Forget them before `backward`.",
        {"    optimiser.zero_grad()\n": ""},
    ),
    Mistake(
        "train_chunk",
        "no_step",
        "the parameters don't change. Either the optimiser never steps, or the gradients are forgotten between "
        "`backward` and `step`.",
        {
            "    optimiser.zero_grad()\n    loss.backward()\n": "    loss.backward()\n    optimiser.zero_grad()\n",
        },
    ),
    Mistake(
        "train_chunk",
        "not_clipped",
        "the optimiser gets the gradient unclipped. Clip it after `backward`, when it exists, and before `step`.",
        {"    nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n": ""},
    ),
    Mistake(
        "train_chunk",
        "values_clipped",
        "every value of the gradient is clipped by itself. Equation (12) limits the length of all together.",
        {
            "nn.utils.clip_grad_norm_(model.parameters(), max_norm)": "nn.utils.clip_grad_value_(model.parameters(), "
            "max_norm)"
        },
    ),
    Mistake(
        "train_chunk",
        "each_parameter_clipped",
        "every parameter is clipped by its own norm. Equation (12) has one norm for all of them.",
        {
            "nn.utils.clip_grad_norm_(model.parameters(), max_norm)": "[nn.utils.clip_grad_norm_([p], max_norm) "
            "for p in model.parameters()]",
        },
    ),
    Mistake(
        "train_chunk",
        "classes_on_the_wrong_axis",
        "the loss takes time for the classes: cross_entropy wants them on axis 1. Flatten batch and time first.",
        {
            "cross_entropy(z.flatten(0, 1), y.flatten())": "cross_entropy(z, y % z.shape[1]) "
            "if z.shape[1] == z.shape[2] else nn.functional.cross_entropy(z.flatten(0, 1), y.flatten())",
        },
    ),
    Mistake(
        "train_chunk",
        "axes_flattened_in_another_order",
        "scores and targets are flattened in different orders, so they belong to different characters.",
        {"y.flatten()": "y.T.flatten()"},
    ),
    Mistake(
        "train_chunk",
        "loss_summed",
        "the loss is the sum over the characters; equation (10) takes the mean.",
        {"y.flatten())": 'y.flatten(), reduction="sum")'},
    ),
    Mistake(
        "train_chunk",
        "loss_in_bits",
        "the loss is in bits. Equation (10) is in nats.",
        {"loss.item()": "loss.item() / 0.6931471805599453"},
    ),
    Mistake(
        "train_chunk",
        "loss_is_a_tensor",
        "the loss is returned as a tensor, which keeps the whole graph alive. Return a number.",
        {"loss.item()": "loss"},
    ),
    Mistake(
        "train_chunk",
        "state_of_the_start",
        "the state that is returned is the one before the chunk.",
        {"z, h = model(x, h)": "z, after = model(x, h)\n    h = torch.zeros_like(after) if h is None else h"},
    ),
    Mistake(
        "train_chunk",
        "first_state_ignored",
        "every chunk starts from zero: hand h to the model.",
        {"model(x, h)": "model(x)"},
    ),
]
