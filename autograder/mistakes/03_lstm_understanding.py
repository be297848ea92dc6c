"""What learners may write instead in 03, with the hint for each."""

from autograder.engine.mistakes import Mistake

MISTAKES = [
    Mistake(
        "lstm_cell_forward",
        "gates_i_f_o_g",
        "the gates are taken in the order i, f, o, g. The columns of W hold i, f, g, o: saturate one bias and see.",
        {"a_i, a_f, a_g, a_o =": "a_i, a_f, a_o, a_g ="},
    ),
    Mistake(
        "lstm_cell_forward",
        "gates_f_i_g_o",
        "input and forget gate are swapped: the columns of W hold i, f, g, o.",
        {"a_i, a_f, a_g, a_o =": "a_f, a_i, a_g, a_o ="},
    ),
    Mistake(
        "lstm_cell_forward",
        "cell_state_not_squashed",
        "h is o times the cell state itself. Equation (4) takes its tanh first.",
        {"o * np.tanh(c)": "o * c"},
    ),
    Mistake(
        "lstm_cell_forward",
        "previous_cell_state_shown",
        "h is made from the previous cell state; equation (4) uses the new one.",
        {"o * np.tanh(c)": "o * np.tanh(c_prev)"},
    ),
    Mistake(
        "lstm_cell_forward",
        "candidate_through_sigmoid",
        "the candidate g goes through the sigmoid. In equation (2) it is the only one that takes tanh, so that it can "
        "also lower the memory.",
        {"g = np.tanh(a_g)": "g = sigmoid(a_g)"},
    ),
    Mistake(
        "lstm_cell_forward",
        "output_gate_through_tanh",
        "the output gate goes through tanh, so it can be negative. A gate takes the sigmoid.",
        {"sigmoid(a_o)": "np.tanh(a_o)"},
    ),
    Mistake(
        "lstm_cell_forward",
        "bias_missing",
        "the bias b is not added in equation (1).",
        {' + params["b"]': ""},
    ),
    Mistake(
        "lstm_cell_forward",
        "exp_overflows",
        "for large negative inputs exp(-x) overflows; use the given `sigmoid`, which does not.",
        {"sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)": "(np.exp(a) / (1 + np.exp(a)) for a in (a_i, a_f, a_o))"},
    ),
    Mistake(
        "lstm_cell_backward",
        "cell_state_through_h_missing",
        "only the direct gradient of c is used. The cell state also reaches the loss through h: equation (5) adds it.",
        {"dc + dh * o * (1 - tanh_c**2)": "dc"},
    ),
    Mistake(
        "lstm_cell_backward",
        "upstream_dc_ignored",
        "the upstream dc is not used: the gradient that comes back from the next step's cell state is lost.",
        {"dc + dh * o": "dh * o"},
    ),
    Mistake(
        "lstm_cell_backward",
        "dc_prev_without_forget_gate",
        "dc_prev lacks the factor f. Equation (3) multiplies the old cell state by the forget gate.",
        {"dc_total * f, xh": "dc_total, xh"},
    ),
    Mistake(
        "lstm_cell_backward",
        "forget_gate_from_new_cell_state",
        "the gradient of the forget gate uses the new cell state; in equation (3) the forget gate meets the old one.",
        {"dc_total * c_prev * f": "dc_total * c * f"},
    ),
    Mistake(
        "lstm_cell_backward",
        "tanh_derivative_of_gate",
        "a sigmoid's derivative is σ(1 - σ). One of the gates uses 1 - σ², the derivative of tanh.",
        {"o * (1 - o)": "(1 - o**2)"},
    ),
    Mistake(
        "lstm_cell_backward",
        "db_averaged",
        "db is averaged over the batch. The bias is added to every row, so its gradient is the sum over the rows.",
        {"da.sum(axis=0)": "da.mean(axis=0)"},
    ),
    Mistake(
        "lstm_cell_backward",
        "db_not_summed",
        "db still has a row per example. A value that is broadcast in the forward pass is summed in the backward pass.",
        {"da.sum(axis=0)": "da"},
    ),
    Mistake(
        "lstm_cell_backward",
        "all_ones_upstream",
        "the upstream gradients are not used: this is the gradient of sum(h) + sum(c).",
        {"W, xh, c_prev": "dh, dc = np.ones_like(dh), np.ones_like(dc)\n    W, xh, c_prev"},
    ),
    Mistake(
        "LSTM",
        "cell_state_not_carried",
        "the cell state starts at zero in every step: carry c from one step to the next.",
        {"for x in X.unbind(dim=1):": "for x in X.unbind(dim=1):\n            c = torch.zeros_like(c)"},
    ),
    Mistake(
        "LSTM",
        "state_detached",
        "the states are detached between steps: the outputs are right, and the gradients stop at one step.",
        {"outputs.append(h)": "outputs.append(h)\n            h, c = h.detach(), c.detach()"},
    ),
    Mistake(
        "LSTM",
        "last_step_only",
        "only the last hidden state is returned; H holds that of every step, shape (B, T, H).",
        {"torch.stack(outputs, dim=1)": "h"},
    ),
    Mistake(
        "LSTM",
        "time_first",
        "the outputs are stacked along axis 0. H is batch first: (B, T, H).",
        {"torch.stack(outputs, dim=1)": "torch.stack(outputs, dim=0)"},
    ),
    Mistake(
        "LSTM",
        "gates_i_f_o_g",
        "the gates are taken in the order i, f, o, g; the columns of W hold i, f, g, o.",
        {"a_i, a_f, a_g, a_o =": "a_i, a_f, a_o, a_g ="},
    ),
    Mistake(
        "LSTM",
        "parameter_not_registered",
        "a parameter is kept where the module does not see it: assign an nn.Parameter to an attribute of the module.",
        {"self.b = nn.Parameter(torch.zeros(4 * hidden))": "self.b = torch.zeros(4 * hidden, dtype=torch.float64)"},
    ),
]
