"""What learners may write instead in 21, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

MISTAKES = [
    Mistake(
        "collapse",
        "blanks_dropped_first",
        "blanks are dropped before repeats are merged. What then happens to a-blank-a? Equation (1) merges first.",
        {"if symbol != previous and symbol != blank:": "if symbol != blank and symbol != (labels or [None])[-1]:"},
    ),
    Mistake(
        "collapse",
        "blanks_kept",
        "the blanks are still there. Merge equal neighbours, then drop every blank.",
        {" and symbol != blank": ""},
    ),
    Mistake(
        "collapse",
        "every_label_once",
        "a label that came earlier never comes again, as in a set. Only *neighbours* are merged.",
        {"symbol != previous": "symbol not in labels"},
    ),
    Mistake(
        "collapse",
        "repeats_not_merged",
        "blanks are dropped, but equal neighbours are not merged: one label held for three frames is one label.",
        {"symbol != previous and ": ""},
    ),
    Mistake(
        "collapse",
        "blank_is_always_zero",
        "the blank is taken to be class 0. It is whatever the argument says.",
        {"symbol != blank": "symbol != 0"},
    ),
    Mistake(
        "collapse",
        "last_frame_lost",
        "the last frame is never looked at.",
        {"in path:": "in path[:-1]:"},
    ),
    Mistake(
        "extend_with_blanks",
        "skip_between_equal_labels",
        "a skip is allowed between equal labels. `aa` must pass through the blank, or it would collapse to `a`.",
        {"y[1:] != y[:-1]": "True"},
    ),
    Mistake(
        "extend_with_blanks",
        "skip_into_blanks",
        "skips into blanks are allowed: that would leave out a label of the transcript.",
        {"    return l, skip": "    skip[2::2] = True\n    return l, skip"},
    ),
    Mistake(
        "extend_with_blanks",
        "skip_into_the_first_label",
        "skip is True for the first label, but there is no state two places before it.",
        {"    return l, skip": "    skip[1:2] = True\n    return l, skip"},
    ),
    Mistake(
        "extend_with_blanks",
        "skip_one_place_early",
        "skip stands where the skip starts. It belongs to the state that is entered: skip[s] is about s - 2 → s.",
        {"skip[3::2]": "skip[1:-2:2]"},
    ),
    Mistake(
        "extend_with_blanks",
        "no_blanks_outside",
        "there are blanks between the labels only. A path may also begin and end with a blank: 2U + 1 states.",
        {"    return l, skip": "    return l[1:-1], skip[1:-1]"},
    ),
    Mistake(
        "extend_with_blanks",
        "compared_with_the_next",
        "skip compares every label with the one after it; equation (3) compares l_s with l_{s-2}, the one before.",
        {
            "skip[3::2] = y[1:] != y[:-1]": "skip[1:-2:2] = y[1:] != y[:-1]\n    skip[-2:-1] = len(y) > 1",
        },
    ),
    Mistake(
        "extend_with_blanks",
        "blank_is_always_zero",
        "the blank is taken to be class 0. It is whatever the argument says.",
        {"np.full(2 * len(y) + 1, blank)": "np.full(2 * len(y) + 1, 0)"},
    ),
    Mistake(
        "ctc_alpha",
        "last_state_only",
        "only paths that end in the last blank are counted. A path may also end on the last label: (6) adds two.",
        {"log_alpha[-1, -2:]": "log_alpha[-1, -1:]"},
    ),
    Mistake(
        "ctc_alpha",
        "last_label_only",
        "only paths that end on the last label are counted; a path may also end in the blank after it.",
        {"log_alpha[-1, -2:]": "log_alpha[-1, -2:-1] if len(y) else log_alpha[-1]"},
    ),
    Mistake(
        "ctc_alpha",
        "starts_in_the_blank_only",
        "a path may start with the first label as well as with a blank: equation (4) sets two states.",
        {"log_alpha[0, :2] = emit[0, :2]": "log_alpha[0, 0] = emit[0, 0]"},
    ),
    Mistake(
        "ctc_alpha",
        "starts_anywhere",
        "every state is a start. Before the first frame nothing has been read, so only states 0 and 1 are.",
        {"log_alpha[0, :2] = emit[0, :2]": "log_alpha[0] = emit[0]"},
    ),
    Mistake(
        "ctc_alpha",
        "first_emission_missing",
        "the first frame's emission is not counted: equation (4) starts with p_1, not with 1.",
        {"log_alpha[0, :2] = emit[0, :2]": "log_alpha[0, :2] = 0"},
    ),
    Mistake(
        "ctc_alpha",
        "no_skips",
        "the third term of equation (5) is missing: a path may go from label to label without a blank.",
        {"np.where(skip[2:], np.logaddexp(total[2:], before[:-2]), total[2:])": "total[2:]"},
    ),
    Mistake(
        "ctc_alpha",
        "skips_everywhere",
        "every state may be skipped into. Equation (3) forbids it for blanks and for equal labels.",
        {"np.where(skip[2:], np.logaddexp(total[2:], before[:-2]), total[2:])": "np.logaddexp(total[2:], before[:-2])"},
    ),
    Mistake(
        "ctc_alpha",
        "no_staying",
        "a path can't stay in its state: the first term of equation (5) is missing.",
        {"total = before.copy()": "total = np.full_like(before, -np.inf)"},
    ),
    Mistake(
        "ctc_alpha",
        "probability_space",
        "the recursion multiplies probabilities, which underflow to 0 after a few hundred frames. Keep logarithms.",
        {
            "emit = logp[:, l]": "emit = np.exp(logp[:, l])",
            "np.full(emit.shape, -np.inf)": "np.zeros(emit.shape)",
            "np.logaddexp(total[1:], before[:-1])": "total[1:] + before[:-1]",
            "np.logaddexp(total[2:], before[:-2])": "total[2:] + before[:-2]",
            "emit[t] + total": "emit[t] * total",
            "return -float(np.logaddexp.reduce(log_alpha[-1, -2:])), log_alpha": "with np.errstate(divide='ignore'):\n"
            "        return -float(np.log(np.sum(log_alpha[-1, -2:]))), np.log(log_alpha)",
        },
    ),
    Mistake(
        "ctc_alpha",
        "warnings_leak",
        "the logarithm of 0 is taken, with a warning. Add in log space with np.logaddexp, which knows -inf.",
        {
            "np.logaddexp(total[1:], before[:-1])": "np.log(np.exp(total[1:]) + np.exp(before[:-1]))",
        },
    ),
    Mistake(
        "ctc_alpha",
        "best_path_only",
        "the maximum over predecessors is taken: that is the best alignment's probability (Viterbi). CTC adds them.",
        {"np.logaddexp(": "np.maximum(", "np.logaddexp.reduce": "np.max"},
    ),
    Mistake(
        "ctc_alpha",
        "sign",
        "this is ln p(y | x); the loss is its negative.",
        {"return -float(": "return float("},
    ),
    Mistake(
        "ctc_alpha",
        "updated_in_place",
        "a row is changed while it is still being read: the shifted additions see the *new* frame. Copy first.",
        {"before.copy()": "before"},
    ),
    Mistake(
        "edit_distance",
        "substitution_costs_two",
        "a substitution costs 2, as much as a deletion and an insertion; in equation (7) it is one edit.",
        {"int(symbol != other)": "2 * int(symbol != other)"},
    ),
    Mistake(
        "edit_distance",
        "matches_are_not_free",
        "equal symbols cost an edit. The diagonal step is free where they are equal.",
        {"int(symbol != other)": "1"},
    ),
    Mistake(
        "edit_distance",
        "position_by_position",
        "sequences are compared position by position. One missing symbol then shifts all that follow.",
        {
            "    row = list(": "    return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b))\n    row = list(",
        },
    ),
    Mistake(
        "edit_distance",
        "first_column_zero",
        "rows begin with 0, as if deleting the beginning of a were free. Equation (7) has D_{i0} = i.",
        {"row = row, [i]": "row = row, [0]"},
    ),
    Mistake(
        "edit_distance",
        "first_row_zero",
        "the first row is all zeros, as if inserting the beginning of b were free. Equation (7) has D_{0j} = j.",
        {"row = list(range(len(b) + 1))": "row = [0] * (len(b) + 1)"},
    ),
    Mistake(
        "edit_distance",
        "divided_by_length",
        "this is a rate. The distance is a number of edits.",
        {"return row[-1]": "return row[-1] / max(len(a), 1)"},
    ),
    Mistake(
        "error_rate",
        "mean_of_rates",
        "this averages the rates of the utterances. Add all edits, then divide once by the length of all references.",
        {
            "return edits / sum(len(ref) for ref in refs)": "return sum(edit_distance(r, h) / max(len(r), 1)"
            " for r, h in zip(refs, hyps)) / len(refs)",
        },
    ),
    Mistake(
        "error_rate",
        "divided_by_hypotheses",
        "the edits are divided by the length of the hypotheses. Equation (8) counts the references' labels.",
        {"sum(len(ref) for ref in refs)": "max(sum(len(hyp) for hyp in hyps), 1)"},
    ),
    Mistake(
        "error_rate",
        "divided_by_longer",
        "each pair counts with the longer of the two lengths. Equation (8) counts the references' labels.",
        {"sum(len(ref) for ref in refs)": "sum(max(len(r), len(h)) for r, h in zip(refs, hyps))"},
    ),
    Mistake(
        "error_rate",
        "divided_by_utterances",
        "the edits are divided by the number of utterances: edits per utterance, not per label.",
        {"sum(len(ref) for ref in refs)": "len(refs)"},
    ),
    Mistake(
        "error_rate",
        "share_of_wrong_utterances",
        "this is the share of utterances with any mistake. Equation (8) counts edits.",
        {
            "edits / sum(len(ref) for ref in refs)": "sum(list(r) != list(h) for r, h in zip(refs, hyps)) / len(refs)",
        },
    ),
    Mistake(
        "error_rate",
        "accuracy",
        "this is 1 minus the error rate.",
        {"return edits": "return 1 - edits"},
    ),
    Mistake(
        "prefix_beam_search",
        "doubled_label_from_both_endings",
        "a label is doubled from all of the prefix's mass. Extending with the same letter needs the blank-ended mass.",
        {"(ends_blank if c == last else p)": "p"},
    ),
    Mistake(
        "prefix_beam_search",
        "staying_from_both_endings",
        "a prefix that ends in a blank stays by its last label: that would be a *new* label. (9) uses p_n there.",
        {"ends_label + row[last]": "(p if prefix else -np.inf) + row[last]"},
    ),
    Mistake(
        "prefix_beam_search",
        "prefixes_overwritten",
        "a prefix that is reached in two ways keeps only the last of them. Their masses add.",
        {
            "grown[prefix] = np.logaddexp(b_old, to_blank), np.logaddexp(n_old, to_label)": "grown[prefix] = "
            "(to_blank if to_blank > -np.inf else b_old), (to_label if to_label > -np.inf else n_old)",
        },
    ),
    Mistake(
        "prefix_beam_search",
        "best_path_of_each_prefix",
        "each prefix keeps its best path in place of the sum over its paths: use logaddexp, not the maximum.",
        {"np.logaddexp(b_old, to_blank), np.logaddexp(n_old, to_label)": "max(b_old, to_blank), max(n_old, to_label)"},
    ),
    Mistake(
        "prefix_beam_search",
        "no_staying_by_label",
        "a label can't be held: the p_n' of equation (9) is missing.",
        {"ends_label + row[last])": "-np.inf)"},
    ),
    Mistake(
        "prefix_beam_search",
        "greedy",
        "this is the best path, collapsed. The best labelling sums over paths.",
        {
            "    beams = {(): (0.0, -np.inf)}": "    best = [int(k) for k in logp.argmax(axis=1)]\n"
            "    first = [k for i, k in enumerate(best) if k != blank and (i == 0 or k != best[i - 1])]\n"
            "    return first, float(logp.max(axis=1).sum())\n"
            "    beams = {(): (0.0, -np.inf)}",
        },
    ),
    Mistake(
        "prefix_beam_search",
        "language_model_per_frame",
        "the language model is applied in every frame. It belongs to a prefix once per label: Q is for ranking, and "
        "never enters the masses.",
        {
            "beams = {prefix: grown[prefix] for prefix in kept}": "beams = {q: tuple(m + score(q) - "
            "np.logaddexp(*grown[q]) for m in grown[q]) for q in kept}",
        },
    ),
    Mistake(
        "prefix_beam_search",
        "bonus_missing",
        "the bonus per label is not used.",
        {"bonus = b * len(prefix)": "bonus = 0.0"},
    ),
    Mistake(
        "prefix_beam_search",
        "bonus_needs_the_language_model",
        "without a language model the bonus per label is dropped; equation (11) has it in any case.",
        {"bonus = b * len(prefix)": "bonus = 0.0 if lm is None else b * len(prefix)"},
    ),
    Mistake(
        "prefix_beam_search",
        "first_label_without_language_model",
        "the first label is not scored by the language model: row `blank` of lm is for it.",
        {"pairwise((blank, *prefix))": "pairwise(prefix)"},
    ),
    Mistake(
        "prefix_beam_search",
        "language_model_transposed",
        "lm is read as lm[next, previous]; lm[i, j] says that j follows i.",
        {"lm[i, j]": "lm[j, i]"},
    ),
    Mistake(
        "prefix_beam_search",
        "language_model_ignored_in_the_beam",
        "the beam keeps prefixes by their probability alone, and scores only at the end. Equation (11) ranks after "
        "every frame.",
        {
            "sorted(grown, key=score, reverse=True)": "sorted(grown, key=lambda q: -np.logaddexp(*grown[q]))",
            "    return list(kept[0]), float(score(kept[0]))": "    kept = sorted(kept, key=score, reverse=True)\n"
            "    return list(kept[0]), float(score(kept[0]))",
        },
    ),
    Mistake(
        "prefix_beam_search",
        "ranked_by_one_ending",
        "prefixes are ranked by the mass that ends in a label only. p(q) is p_b + p_n.",
        {"np.logaddexp(*grown[prefix]) + bonus": "grown[prefix][1] + bonus"},
    ),
    Mistake(
        "ctc_beta",
        "own_emission_counted",
        "the emission of frame t itself is in β, as in the paper of 2006. Here α has it; β starts after frame t.",
        {"return log_beta": "return log_beta + emit"},
    ),
    Mistake(
        "ctc_beta",
        "emission_of_the_wrong_state",
        "the emission is taken at the state that is left. Equation (13) emits at the state s' that is entered.",
        {
            "after = emit[t + 1] + log_beta[t + 1]": "after = log_beta[t + 1]",
            "log_beta[t] = total": "log_beta[t] = emit[t + 1] + total",
        },
    ),
    Mistake(
        "ctc_beta",
        "emission_of_the_wrong_frame",
        "the emission is that of frame t. Going from t to t + 1 emits in frame t + 1.",
        {"emit[t + 1] + log_beta": "emit[t] + log_beta"},
    ),
    Mistake(
        "ctc_beta",
        "ends_in_the_last_state_only",
        "only the last blank is an end. A path may also end on the last label: equation (12) sets two states.",
        {"log_beta[-1, -2:] = 0.0": "log_beta[-1, -1] = 0.0"},
    ),
    Mistake(
        "ctc_beta",
        "ends_anywhere",
        "every state is an end. Equation (12) sets the last two only.",
        {"log_beta[-1, -2:] = 0.0": "log_beta[-1] = 0.0"},
    ),
    Mistake(
        "ctc_beta",
        "skip_of_the_state_left",
        "whether a skip is allowed is looked up at the state left: skip[s]. It belongs to the one entered, s + 2.",
        {"np.where(skip[2:], np.logaddexp(total[:-2]": "np.where(skip[:-2], np.logaddexp(total[:-2]"},
    ),
    Mistake(
        "ctc_beta",
        "no_skips",
        "there are no skips: from a label a path may go to the next label without a blank.",
        {"np.where(skip[2:], np.logaddexp(total[:-2], after[2:]), total[:-2])": "total[:-2]"},
    ),
    Mistake(
        "ctc_beta",
        "skips_everywhere",
        "every skip is allowed. Equation (3) forbids those over or into a blank that must stay.",
        {"np.where(skip[2:], np.logaddexp(total[:-2], after[2:]), total[:-2])": "np.logaddexp(total[:-2], after[2:])"},
    ),
    Mistake(
        "ctc_beta",
        "forward_in_states",
        "states are shifted as in the forward recursion. Looking ahead, s is followed by s + 1: `after[1:]` joins "
        "`total[:-1]`.",
        {
            "total[:-1] = np.logaddexp(total[:-1], after[1:])": "total[1:] = np.logaddexp(total[1:], after[:-1])",
        },
    ),
    Mistake(
        "ctc_beta",
        "best_path_only",
        "the maximum over successors is taken; equation (13) adds them all.",
        {"np.logaddexp(": "np.maximum("},
    ),
    Mistake(
        "ctc_grad",
        "assigned_instead_of_added",
        "for a label that occurs twice (and for the blank) only one state is kept. Two states, one class: add them.",
        {"np.add.at(occupancy, (slice(None), l), gamma)": "occupancy[:, l] = gamma"},
    ),
    Mistake(
        "ctc_grad",
        "added_without_repeats",
        "`occupancy[:, l] += gamma` adds only once where an index repeats. np.add.at adds every time.",
        {"np.add.at(occupancy, (slice(None), l), gamma)": "occupancy[:, l[::-1]] += gamma[:, ::-1]"},
    ),
    Mistake(
        "ctc_grad",
        "emission_counted_twice",
        "the emission of frame t is in γ twice. α counts it already; β must not.",
        {"gamma = np.exp(log_alpha": "gamma = np.exp(logp[:, extend_with_blanks(y, blank)[0]] + log_alpha"},
    ),
    Mistake(
        "ctc_grad",
        "gradient_at_the_log_probabilities",
        "this is the gradient at the log-probabilities, -Γ. Through the softmax it becomes p - Γ.",
        {"np.exp(logp) - occupancy": "-occupancy"},
    ),
    Mistake(
        "ctc_grad",
        "sign",
        "this is the gradient of ln p(y | x). The loss is its negative: the network's posterior comes first.",
        {"np.exp(logp) - occupancy": "occupancy - np.exp(logp)"},
    ),
    Mistake(
        "ctc_grad",
        "not_normalised",
        "αβ is not divided by p(y | x), so the rows of Γ don't sum to 1.",
        {" + loss)": ")"},
    ),
    Mistake(
        "ctc_grad",
        "log_probabilities_minus_occupancy",
        "Γ is subtracted from log-probabilities. Equation (16) subtracts it from probabilities.",
        {"np.exp(logp) - occupancy": "logp - occupancy"},
    ),
    Mistake(
        "ctc_grad",
        "impossible_gives_nan",
        "for an impossible target this is NaN or not zero: inf - inf. Return early, with a gradient of zeros.",
        {"    if np.isinf(loss):\n        return loss, np.zeros_like(logits)\n": ""},
    ),
    Mistake(
        "ctc_grad",
        "impossible_teaches_blank",
        "for an impossible target the gradient is p itself. It is to be zero: such an utterance teaches nothing.",
        {"return loss, np.zeros_like(logits)": "return loss, np.exp(logp)"},
    ),
    Mistake(
        "ctc_grad",
        "averaged_over_time",
        "the gradient is divided by the number of frames. The loss is that of the whole utterance.",
        {"np.exp(logp) - occupancy": "(np.exp(logp) - occupancy) / len(logits)"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "no_gradient_through_time",
        "the gradient that step t + 1 sends back to h_t is dropped. h_t feeds both the output and h_{t+1}: two "
        "gradients arrive there.",
        {"(dh[t] + from_next)": "dh[t]"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "only_from_the_future",
        "the gradient from the output is lost: only what comes back from step t + 1 is used, beyond the last frame.",
        {"(dh[t] + from_next)": "((dh[t] if t == len(x) - 1 else 0.0) + from_next)"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "recurrent_weights_not_transposed",
        "what goes back is multiplied by Wh; the way back through a product uses its transpose.",
        {'da[t] @ params["Wh"].T': 'da[t] @ params["Wh"]'},
    ),
    Mistake(
        "rnn_ctc_backward",
        "state_of_the_same_step",
        "dWh pairs da_t with h_t. In equation (17) the recurrent weights meet the state *before*, h_{t-1}.",
        {'"Wh": h[:-1].T @ da': '"Wh": h[1:].T @ da'},
    ),
    Mistake(
        "rnn_ctc_backward",
        "state_before_in_the_output",
        "dV pairs dz_t with h_{t-1}. The output reads the state of its own frame.",
        {'"V": h[1:].T': '"V": h[:-1].T'},
    ),
    Mistake(
        "rnn_ctc_backward",
        "tanh_derivative_missing",
        "the derivative of tanh is missing: da is dh times 1 - h².",
        {" * (1 - h[t + 1] ** 2)": ""},
    ),
    Mistake(
        "rnn_ctc_backward",
        "tanh_derivative_of_the_state_before",
        "the derivative of tanh is taken at h_{t-1}. Frame t made h_t, which stands at h[t + 1].",
        {"1 - h[t + 1] ** 2": "1 - h[t] ** 2"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "dh_sent_back",
        "what goes back to h_{t-1} is dh, not da: it must pass the tanh before it passes Wh.",
        {"from_next = da[t] @": "from_next = (dh[t] + from_next) @"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "b_averaged",
        "db is averaged over time. The bias is added in every frame, so its gradient is the sum.",
        {"da.sum(axis=0)": "da.mean(axis=0)"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "c_of_the_last_frame",
        "dc is that of the last frame only; it sums over time, equation (19).",
        {"dlogits.sum(axis=0)": "dlogits[-1]"},
    ),
    Mistake(
        "rnn_ctc_backward",
        "loop_runs_forward",
        "the loop runs forward in time. What step t + 1 sends back is known only after step t + 1.",
        {"reversed(range(len(x)))": "range(len(x))"},
    ),
    Mistake(
        "DeepSpeechMini",
        "input_lengths_returned",
        "the lengths of the input are returned. The conv changed T: equation (20).",
        {"dim=-1), out_lens": "dim=-1), lens"},
    ),
    Mistake(
        "DeepSpeechMini",
        "lengths_divided",
        "the lengths are n // stride. The convolution's padding and kernel count too: equation (20).",
        {"(lens + 2 * (kernel // 2) - kernel) // stride + 1": "(lens // stride).clamp(min=1)"},
    ),
    Mistake(
        "DeepSpeechMini",
        "probabilities",
        "these are probabilities. F.ctc_loss wants their logarithms.",
        {"F.log_softmax(": "F.softmax("},
    ),
    Mistake(
        "DeepSpeechMini",
        "logits_returned",
        "these are logits: rows of exp(logp) don't sum to 1. Finish with a log-softmax.",
        {"F.log_softmax(self.out(H), dim=-1)": "self.out(H)"},
    ),
    Mistake(
        "DeepSpeechMini",
        "softmax_over_time",
        "the log-softmax runs over time; it belongs over classes, the last axis.",
        {"F.log_softmax(self.out(H), dim=-1)": "F.log_softmax(self.out(H), dim=0)"},
    ),
    Mistake(
        "DeepSpeechMini",
        "batch_first",
        "logp is (B, T', C). F.ctc_loss wants time first: (T', B, C).",
        {"pad_packed_sequence(self.gru(packed)[0])": "pad_packed_sequence(self.gru(packed)[0], batch_first=True)"},
    ),
    Mistake(
        "DeepSpeechMini",
        "no_packing",
        "the GRU reads the padding: its backward direction starts in frames that belong to nobody. Pack the sequences.",
        {
            "H, _ = pad_packed_sequence(self.gru(packed)[0])": "H, _ = pad_packed_sequence(packed, batch_first=True)\n"
            "        H = self.gru(H)[0].transpose(0, 1)",
        },
    ),
    Mistake(
        "DeepSpeechMini",
        "padding_in_the_statistics",
        "batch normalisation sees the padded frames: mean and variance are to be those of the real frames only.",
        {
            "H = self.conv(X.transpose(1, 2)).transpose(1, 2)": "H = F.relu(self.norm(self.conv(X.transpose(1, 2))))"
            ".transpose(1, 2)",
            "        packed = packed._replace(data=F.relu(self.norm(packed.data)))\n": "",
        },
    ),
    Mistake(
        "DeepSpeechMini",
        "no_normalisation",
        "the batch normalisation is never used.",
        {"F.relu(self.norm(packed.data))": "F.relu(packed.data)"},
    ),
    Mistake(
        "DeepSpeechMini",
        "no_relu",
        "the ReLU after the normalisation is missing.",
        {"F.relu(self.norm(packed.data))": "self.norm(packed.data)"},
    ),
    Mistake(
        "DeepSpeechMini",
        "relu_before_the_normalisation",
        "the ReLU comes before the normalisation; the order is convolution, normalisation, ReLU.",
        {"F.relu(self.norm(packed.data))": "self.norm(F.relu(packed.data))"},
    ),
    Mistake(
        "DeepSpeechMini",
        "detached",
        "the result has no graph: something was detached, so nothing can learn.",
        {"F.log_softmax(self.out(H), dim=-1)": "F.log_softmax(self.out(H), dim=-1).detach().requires_grad_()"},
    ),
    Mistake(
        "sortagrad_batches",
        "sorted_in_every_epoch",
        "every epoch is ordered by length. Only epoch 0 is; after it the given order counts.",
        {"if epoch == 0:": "if True:"},
    ),
    Mistake(
        "sortagrad_batches",
        "never_sorted",
        "the first epoch is not ordered by length. Epochs count from 0, so it is epoch 0.",
        {"if epoch == 0:": "if False:"},
    ),
    Mistake(
        "sortagrad_batches",
        "ragged_batch_dropped",
        "the last batch is missing where it is smaller than B. Count the utterances that you return.",
        {"range(0, len(order), B)": "range(0, len(order) - B + 1, B)"},
    ),
    Mistake(
        "sortagrad_batches",
        "longest_first",
        "epoch 0 begins with the longest utterances; it is to begin with the shortest.",
        {"key=lambda i: lens[i]": "key=lambda i: -lens[i]"},
    ),
    Mistake(
        "sortagrad_batches",
        "lengths_in_place_of_indices",
        "the batches hold lengths. They are to hold indices of utterances.",
        {"sorted(range(len(lens)), key=lambda i: lens[i])": "sorted(lens)"},
    ),
    Mistake(
        "sortagrad_batches",
        "sorted_within_batches",
        "utterances are sorted within each batch; in epoch 0 the *whole* set is ordered before it is cut.",
        {
            "    if epoch == 0:\n        order = sorted(range(len(lens)), key=lambda i: lens[i])\n": "",
            "return [order[start : start + B] for": "return [sorted(order[start : start + B], key=lambda i: lens[i]) "
            "if epoch == 0 else order[start : start + B] for",
        },
    ),
    Mistake(
        "train_step",
        "mean_reduction",
        'this is reduction="mean", which divides every loss by its target\'s length. (22) divides the sum by B.',
        {'reduction="sum") / len(targets)': 'reduction="mean")'},
    ),
    Mistake(
        "train_step",
        "sum_of_losses",
        "the losses are summed over the batch; equation (22) divides by B.",
        {" / len(targets)": ""},
    ),
    Mistake(
        "train_step",
        "divided_by_frames",
        "the sum is divided by the number of frames or labels; equation (22) divides by the number of utterances.",
        {" / len(targets)": " / int(target_lens.sum())"},
    ),
    Mistake(
        "train_step",
        "gradients_not_cleared",
        "old gradients are still there when the new ones are added. Clear them before the backward pass.",
        {"    optimiser.zero_grad()\n": ""},
    ),
    Mistake(
        "train_step",
        "cleared_after_the_backward_pass",
        "nothing moves. Is there a step, and are the gradients cleared before they are computed, not after?",
        {"    optimiser.zero_grad()\n    loss.backward()\n": "    loss.backward()\n    optimiser.zero_grad()\n"},
    ),
    Mistake(
        "train_step",
        "not_clipped",
        "the gradient of the step is not clipped: its norm exceeds max_norm. Clip between backward pass and step.",
        {"    nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n": ""},
    ),
    Mistake(
        "train_step",
        "clipped_by_value",
        "every element is clipped by itself, which turns the gradient. Shrink the norm of all parameters together.",
        {"clip_grad_norm_": "clip_grad_value_"},
    ),
    Mistake(
        "train_step",
        "clipped_one_by_one",
        "every parameter is clipped by itself. max_norm is for all of them together.",
        {
            "    nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n": "    for parameter in model.parameters():\n"
            "        nn.utils.clip_grad_norm_([parameter], max_norm)\n",
        },
    ),
    Mistake(
        "train_step",
        "input_lengths_in_the_loss",
        "if it is F.ctc_loss that complains: it wants logp time first, as the model returns it, and the lengths of "
        "what the model put out. The conv changed T, so the input's lengths are too long.",
        {"torch.cat(targets), out_lens,": "torch.cat(targets), lens,"},
    ),
    Mistake(
        "train_step",
        "padding_counted",
        "every utterance is given the length of the longest, so padding is recognised too. Use out_lens.",
        {"torch.cat(targets), out_lens,": "torch.cat(targets), torch.full_like(out_lens, len(logp)),"},
    ),
]
