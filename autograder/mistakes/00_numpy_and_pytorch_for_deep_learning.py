"""What learners may write instead in 00, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

MISTAKES = [
    Mistake(
        "one_hot",
        "whole_columns",
        "every row has all the ones. `Y[:, y]` selects whole columns; the row index must be paired with y.",
        {"Y[np.arange(y.shape[0]), y]": "Y[:, y]"},
    ),
    Mistake(
        "one_hot",
        "integer_targets",
        "the zeros were made with an integer dtype; targets are float64, the dtype of the probabilities they meet.",
        {"np.zeros((y.shape[0], K))": "np.zeros((y.shape[0], K), dtype=int)"},
    ),
    Mistake(
        "one_hot",
        "classes_from_data",
        "the number of columns is taken from the labels, so it is too small when the last class does not occur. Use K.",
        {"np.zeros((y.shape[0], K))": "np.zeros((y.shape[0], y.max() + 1))"},
    ),
    Mistake(
        "pairwise_sq_dists",
        "both_norms_as_rows",
        "both squared norms are rows, so ‖aₙ‖² is added along the wrong axis, or fits none. Print the shapes: that "
        "of A has to be a column.",
        {"[:, None]": ""},
    ),
    Mistake(
        "pairwise_sq_dists",
        "both_norms_as_columns",
        "both squared norms are columns, so ‖bₘ‖² is added along the wrong axis, or fits none. Print the shapes: "
        "that of B has to be a row.",
        {"sq_B = np.sum(B**2, axis=1)": "sq_B = np.sum(B**2, axis=1)[:, None]"},
    ),
    Mistake(
        "pairwise_sq_dists",
        "below_zero",
        "some squared distances are slightly negative: where points nearly coincide, rounding wins. Cut off at 0.",
        {"np.maximum(sq_A + sq_B - 2 * A @ B.T, 0.0)": "sq_A + sq_B - 2 * A @ B.T"},
    ),
    Mistake(
        "pairwise_sq_dists",
        "product_once",
        "the dot product is taken once; the binomial formula takes it twice.",
        {"2 * A @ B.T": "A @ B.T"},
    ),
    Mistake(
        "pairwise_sq_dists",
        "product_added",
        "the dot products are added; equation (2) subtracts them.",
        {"- 2 * A": "+ 2 * A"},
    ),
    Mistake(
        "pairwise_sq_dists",
        "root_taken",
        "these are the distances; their squares are asked for.",
        {
            "return np.maximum(sq_A + sq_B - 2 * A @ B.T, 0.0)": (
                "return np.maximum(sq_A + sq_B - 2 * A @ B.T, 0.0) ** 0.5"
            ),
        },
    ),
    Mistake(
        "pairwise_sq_dists",
        "points_of_B_first",
        "the result is transposed: its rows belong to the points of A, its columns to those of B.",
        {"A @ B.T, 0.0)": "A @ B.T, 0.0).T"},
    ),
    Mistake(
        "pairwise_sq_dists",
        "summed_over_points",
        "the squares are summed over the points; the norm of a point sums over its coordinates, axis 1.",
        {"axis=1": "axis=0"},
    ),
    Mistake(
        "log_softmax",
        "not_shifted",
        "large logits overflow: subtract the largest logit before any exponential, equation (3).",
        {"shifted = z - z.max(axis=axis, keepdims=True)": "shifted = z"},
    ),
    Mistake(
        "log_softmax",
        "logarithm_of_a_small_constant",
        "a small constant is added inside the logarithm, which caps every log-probability. Equation (3) needs none.",
        {
            "shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))": (
                "np.log(np.exp(shifted) / np.exp(shifted).sum(axis=axis, keepdims=True) + 1e-12)"
            ),
        },
    ),
    Mistake(
        "log_softmax",
        "logarithm_of_softmax",
        "this is the logarithm of the softmax: a probability that rounds to 0 becomes -inf. Equation (3) takes the "
        "logarithm of the sum only.",
        {
            "shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))": (
                "np.log(np.exp(shifted) / np.exp(shifted).sum(axis=axis, keepdims=True))"
            ),
        },
    ),
    Mistake(
        "log_softmax",
        "probabilities",
        "these are the probabilities; their logarithms are asked for.",
        {
            "shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))": (
                "np.exp(shifted) / np.exp(shifted).sum(axis=axis, keepdims=True)"
            ),
        },
    ),
    Mistake(
        "log_softmax",
        "axis_lost",
        "a reduction loses its axis, and what is left meets z along another one. `keepdims=True` keeps the axis.",
        {"keepdims=True": "keepdims=False"},
    ),
    Mistake(
        "log_softmax",
        "always_the_last_axis",
        "`axis` is not used: the classes may lie along any axis.",
        {"axis=axis": "axis=-1"},
    ),
    Mistake(
        "log_softmax",
        "one_maximum_for_all",
        "the maximum is that of all of z. Rows far below it underflow; take it along `axis`, one per row.",
        {"z.max(axis=axis, keepdims=True)": "z.max()"},
    ),
    Mistake(
        "log_softmax",
        "one_sum_for_all",
        "the sum runs over all of z; equation (3) has one sum per slice along `axis`.",
        {".sum(axis=axis, keepdims=True)": ".sum()"},
    ),
    Mistake(
        "log_softmax",
        "maximum_forgotten_in_the_sum",
        "the maximum is subtracted from the logit, but not inside the exponentials (or the other way round).",
        {"return shifted -": "return z -"},
    ),
    Mistake(
        "cross_entropy",
        "sum",
        "this is the sum over the batch; equation (4) takes the mean.",
        {".mean()": ".sum()"},
    ),
    Mistake(
        "cross_entropy",
        "mean_over_classes_too",
        "the mean runs over the classes as well, so the loss is K times too small. Average over the N examples.",
        {".mean()": ".sum() / log_p.size"},
    ),
    Mistake(
        "cross_entropy",
        "sign_missing",
        "the sign is missing: a log-probability is at most 0, a surprise at least 0.",
        {"float(-log_p": "float(log_p"},
    ),
    Mistake(
        "cross_entropy",
        "whole_columns",
        "`log_p[:, y]` has shape (N, N): every row is read at all labels. Pair the row numbers with the labels.",
        {"log_p[np.arange(len(y)), y]": "log_p[:, y]"},
    ),
    Mistake(
        "cross_entropy",
        "probability_of_the_class",
        "this is minus the probability of the true class; equation (4) takes its logarithm.",
        {"log_p = log_softmax(logits)": "log_p = np.exp(log_softmax(logits))"},
    ),
    Mistake(
        "cross_entropy",
        "bits",
        "this is in bits, with a logarithm to base 2. Here losses are in nats.",
        {".mean()": ".mean() / np.log(2)"},
    ),
    Mistake(
        "cross_entropy",
        "logits_as_they_are",
        "the logits are used as if they were log-probabilities: equation (4) needs log_softmax of them.",
        {"log_softmax(logits)": "logits"},
    ),
    Mistake(
        "cross_entropy",
        "overflowing_softmax",
        "probabilities are computed on the way, and overflow or round to 0. Use your log_softmax.",
        {"log_softmax(logits)": "np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))"},
    ),
    Mistake(
        "cross_entropy",
        "softmax_over_the_batch",
        "the softmax runs over the batch; the classes lie along axis 1.",
        {"log_softmax(logits)": "log_softmax(logits, axis=0)"},
    ),
    Mistake(
        "mlp_forward",
        "weights_out_in",
        "the weights are used transposed, as torch keeps them. Here W1 has shape (D, H): X @ W1 needs no transpose.",
        {'params["W1"]': 'params["W1"].T', 'params["W2"]': 'params["W2"].T'},
    ),
    Mistake(
        "mlp_forward",
        "standardised_inside",
        "X is standardised inside, and in place: the caller's data change. The network takes X as it is.",
        {"    h = np.tanh(": "    X -= X.mean(axis=0)\n    h = np.tanh("},
    ),
    Mistake(
        "mlp_forward",
        "no_tanh",
        "the hidden layer is linear: equation (5) takes the tanh of a.",
        {'np.tanh(X @ params["W1"] + params["b1"])': 'X @ params["W1"] + params["b1"]'},
    ),
    Mistake(
        "mlp_forward",
        "relu",
        "the hidden units are relus; equation (5) takes the tanh.",
        {'np.tanh(X @ params["W1"] + params["b1"])': 'np.maximum(X @ params["W1"] + params["b1"], 0)'},
    ),
    Mistake(
        "mlp_forward",
        "tanh_on_the_logits",
        "the logits go through a tanh as well; equation (6) leaves them as they are.",
        {'h @ params["W2"] + params["b2"]': 'np.tanh(h @ params["W2"] + params["b2"])'},
    ),
    Mistake(
        "mlp_forward",
        "softmax_on_the_logits",
        "the result went through the softmax. The logits stay as they are: the softmax is part of the loss.",
        {"return logits,": "return np.exp(log_softmax(logits)),"},
    ),
    Mistake(
        "mlp_forward",
        "first_bias_missing",
        "the bias b1 is not added in equation (5).",
        {' + params["b1"]': ""},
    ),
    Mistake(
        "mlp_forward",
        "second_bias_missing",
        "the bias b2 is not added in equation (6).",
        {' + params["b2"]': ""},
    ),
    Mistake(
        "mlp_forward",
        "bias_after_the_tanh",
        "b1 is added after the tanh; equation (5) adds it before.",
        {'np.tanh(X @ params["W1"] + params["b1"])': 'np.tanh(X @ params["W1"]) + params["b1"]'},
    ),
    Mistake(
        "numerical_grad",
        "forward_difference",
        "this is a one-sided difference, whose error is of order h. Equation (7) goes to both sides.",
        {
            "x[i] = before - h\n        below = f(x)\n        x[i] = before": "x[i] = before\n        below = f(x)",
            "2 * h": "h",
        },
    ),
    Mistake(
        "numerical_grad",
        "divided_by_h",
        "the two points are 2h apart, not h.",
        {"/ (2 * h)": "/ h"},
    ),
    Mistake(
        "numerical_grad",
        "only_half_divided",
        "without brackets only part of the quotient is divided: / 2 * h multiplies by h.",
        {"/ (2 * h)": "/ 2 * h"},
    ),
    Mistake(
        "numerical_grad",
        "difference_not_divided_as_a_whole",
        "only f(x - h) is divided: put the difference in brackets.",
        {"(above - below) / (2 * h)": "above - below / (2 * h)"},
    ),
    Mistake(
        "numerical_grad",
        "sign",
        "the difference is taken the wrong way round.",
        {"above - below": "below - above"},
    ),
    Mistake(
        "numerical_grad",
        "x_left_moved",
        "x is not put back: the elements before i are still moved when element i is measured, and the caller's x "
        "changes.",
        {"        x[i] = before\n": ""},
    ),
    Mistake(
        "numerical_grad",
        "x_put_back_by_arithmetic",
        "h is added and subtracted again, which rounds, so x comes back changed in its last digits. Keep the old "
        "value.",
        {
            "x[i] = before + h": "x[i] += h",
            "x[i] = before - h": "x[i] -= 2 * h",
            "        x[i] = before\n": "        x[i] += h\n",
        },
    ),
    Mistake(
        "numerical_grad",
        "all_elements_at_once",
        "all elements are moved at once, so every entry is the same sum of derivatives. Move element i alone.",
        {
            "before = x[i]": "before = x.copy()",
            "x[i] = before + h": "x[...] = before + h",
            "x[i] = before - h": "x[...] = before - h",
            "        x[i] = before\n": "        x[...] = before\n",
        },
    ),
    Mistake(
        "numerical_grad",
        "step_fixed",
        "the argument h is not used.",
        {"before = x[i]": "before, h = x[i], 1e-5"},
    ),
    Mistake(
        "numerical_grad",
        "float32",
        "the function is evaluated in float32, where a step of 1e-5 drowns in rounding. Stay in float64.",
        {"f(x)": "f(x.astype(np.float32))"},
    ),
    Mistake(
        "unbroadcast",
        "stretched_axes_ignored",
        "axes of length 1 that were stretched are not summed; only the axes that broadcasting put in are.",
        {"return g.sum(axis=stretched, keepdims=True)": "return g"},
    ),
    Mistake(
        "unbroadcast",
        "new_axes_ignored",
        "axes that broadcasting put in on the left are not summed; only the stretched ones are.",
        {
            "    g = g.sum(axis=tuple(range(g.ndim - len(shape))))\n": (
                "    shape = (1,) * (g.ndim - len(shape)) + shape\n"
            ),
        },
    ),
    Mistake(
        "unbroadcast",
        "stretched_axes_dropped",
        "an axis of length 1 disappears in the sum. It is an axis of x: keep it, with length 1.",
        {"keepdims=True": "keepdims=False"},
    ),
    Mistake(
        "unbroadcast",
        "mean",
        "this is the mean of the copies' gradients; equation (8) adds them.",
        {"g.sum(": "g.mean("},
    ),
    Mistake(
        "unbroadcast",
        "trailing_axes",
        "the axes on the right are summed; broadcasting lines shapes up from the right, so new axes are on the left.",
        {"range(g.ndim - len(shape))": "range(len(shape), g.ndim)"},
    ),
    Mistake(
        "unbroadcast",
        "first_copy_only",
        "only the first copy's gradient is kept; the gradients of all copies add up.",
        {
            "g = g.sum(axis=tuple(range(g.ndim - len(shape))))": "g = g[(0,) * (g.ndim - len(shape))]",
            "g.sum(axis=stretched, keepdims=True)": "g[tuple(slice(n) for n in shape)]",
        },
    ),
    Mistake(
        "mlp_backward",
        "biases_not_summed",
        "the gradient of a bias still has a row per example. The bias was broadcast over the rows: sum over them.",
        {"da.sum(axis=0)": "da", "dlogits.sum(axis=0)": "dlogits"},
    ),
    Mistake(
        "mlp_backward",
        "divided_by_N_again",
        "everything is divided by N once more. The factor 1/N of the mean is in dlogits already.",
        {"dh = dlogits @ W2.T": "dlogits = dlogits / len(X)\n    dh = dlogits @ W2.T"},
    ),
    Mistake(
        "mlp_backward",
        "biases_averaged",
        "the gradient of a bias is averaged over the batch. Whatever is used in every row gets the sum over the rows.",
        {".sum(axis=0)": ".mean(axis=0)"},
    ),
    Mistake(
        "mlp_backward",
        "tanh_taken_twice",
        "the derivative of tanh is taken at h, as 1 - tanh²(h). It is 1 - tanh²(a), and tanh(a) is h itself.",
        {"1 - h**2": "1 - np.tanh(h) ** 2"},
    ),
    Mistake(
        "mlp_backward",
        "through_tanh_unchanged",
        "the gradient passes the tanh unchanged; equation (11) multiplies by 1 - h².",
        {"dh * (1 - h**2)": "dh"},
    ),
    Mistake(
        "mlp_backward",
        "derivative_of_sigmoid",
        "h (1 - h) is the derivative of a sigmoid; that of tanh is 1 - h².",
        {"1 - h**2": "h * (1 - h)"},
    ),
    Mistake(
        "mlp_backward",
        "W2_not_transposed",
        "W2 is not transposed on the way back: dz has shape (N, K), W2 shape (H, K), and dh needs shape (N, H).",
        {"dlogits @ W2.T": "dlogits @ W2"},
    ),
    Mistake(
        "mlp_backward",
        "cache_overwritten",
        "an array of the cache is changed in place, so a second call gives something else.",
        {
            '"W2": h.T @ dlogits': '"W2": dW2',
            "dh = dlogits @ W2.T": "dh, dW2 = dlogits @ W2.T, h.T @ dlogits\n    h **= 2",
            "1 - h**2": "1 - h",
        },
    ),
    Mistake(
        "mlp_backward",
        "all_ones_upstream",
        "the upstream gradient is not used: this is the gradient of the sum of all logits.",
        {"dh = dlogits @ W2.T": "dlogits = np.ones_like(dlogits)\n    dh = dlogits @ W2.T"},
    ),
    Mistake(
        "mlp_backward",
        "weights_transposed",
        "the gradients of the weights are transposed: that of W1 has its shape, (D, H).",
        {"X.T @ da": "da.T @ X", "h.T @ dlogits": "dlogits.T @ h"},
    ),
    Mistake(
        "Value",
        "visited_more_than_once",
        "a value that is used twice comes twice in the order, and passes its gradient on twice. Remember which you "
        "visited.",
        {"if value not in seen:": "if True:"},
    ),
    Mistake(
        "Value",
        "along_every_path",
        "the gradient is pushed along every path from the result, so the work doubles with every fan-out. Go through "
        "each value once, in topological order.",
        {
            "        self.grad = 1.0\n": (
                "\n        def push(value, upstream):\n            value.grad += upstream\n"
                "            for operand, local in zip(value._prev, value._local, strict=True):\n"
                "                push(operand, local * upstream)\n\n        push(self, 1.0)\n        return\n"
            ),
        },
    ),
    Mistake(
        "Value",
        "gradient_overwritten",
        "a value that is used twice keeps only one of its gradients: think of y = x · x. Equation (12) adds them, "
        "with +=.",
        {"operand.grad += ": "operand.grad = "},
    ),
    Mistake(
        "Value",
        "operands_first",
        "gradients are passed on from the operands to the result. Begin at the result: reverse the topological order.",
        {"reversed(order)": "order"},
    ),
    Mistake(
        "Value",
        "passed_on_too_early",
        "a value passes its gradient on before all that was computed from it has added its share. Append a value to "
        "the order after its operands, and read the order from its end.",
        {
            "                order.append(value)": "                pass",
            "seen.add(value)": "seen.add(value)\n                order.insert(0, value)",
        },
    ),
    Mistake(
        "Value",
        "not_zeroed",
        "a second call of backward adds to what the first one left. By our convention it computes the gradients "
        "afresh.",
        {"            value.grad = 0.0\n": "            pass\n"},
    ),
    Mistake(
        "Value",
        "own_gradient_not_set",
        "the result's own gradient is not 1, so nothing arrives: the derivative of y with respect to itself is 1.",
        {"        self.grad = 1.0\n": ""},
    ),
    Mistake(
        "Value",
        "own_factor",
        "the derivative of a product with respect to a factor is the other factor.",
        {"(other.data, self.data)": "(self.data, other.data)"},
    ),
    Mistake(
        "Value",
        "product_without_locals",
        "the product has the local derivatives of a sum. That of a · b with respect to a is b.",
        {"(other.data, self.data)": "(1.0, 1.0)"},
    ),
    Mistake(
        "Value",
        "tanh_derivative_at_the_input",
        "the derivative of tanh is 1 - tanh²(x), with the output squared; yours squares the input.",
        {"1 - t**2": "1 - self.data**2"},
    ),
    Mistake(
        "Value",
        "tanh_derivative_one",
        "tanh passes the gradient on unchanged; its local derivative is 1 - tanh²(x).",
        {"(1 - t**2,)": "(1.0,)"},
    ),
    Mistake(
        "MLP",
        "parent_not_initialised",
        "if it says that something is assigned before Module.__init__() call: `super().__init__()` has to come first.",
        {"        super().__init__()\n": ""},
    ),
    Mistake(
        "MLP",
        "layers_in_a_list",
        "the layers are kept in a plain list, where the module does not see their parameters. Assign each to an "
        "attribute.",
        {
            "self.hidden = nn.Linear(D, H)": "self.layers = [nn.Linear(D, H, dtype=torch.float64)]",
            "self.readout = nn.Linear(H, K)": "self.layers.append(nn.Linear(H, K, dtype=torch.float64))",
            "self.readout(torch.tanh(self.hidden(X)))": "self.layers[1](torch.tanh(self.layers[0](X)))",
        },
    ),
    Mistake(
        "MLP",
        "one_layer_in_a_list",
        "the readout is kept in a plain list, where the module does not see its parameters: no optimiser would train "
        "it.",
        {
            "self.readout = nn.Linear(H, K)": "self.layers = [nn.Linear(H, K, dtype=torch.float64)]",
            "self.readout(torch": "self.layers[0](torch",
        },
    ),
    Mistake(
        "MLP",
        "float32",
        "if it says that dtypes differ: the inputs were turned into float32 (`.float()`), which does not fit float64 "
        "parameters. Leave the dtype to the caller.",
        {"self.hidden(X)": "self.hidden(X.float())"},
    ),
    Mistake(
        "MLP",
        "no_tanh",
        "there is no tanh between the layers, so two of them are no more than one.",
        {"torch.tanh(self.hidden(X))": "self.hidden(X)"},
    ),
    Mistake(
        "MLP",
        "relu",
        "between the layers stands a relu; equation (5) has a tanh there.",
        {"torch.tanh(": "torch.relu("},
    ),
    Mistake(
        "MLP",
        "softmax_at_the_end",
        "the result went through a softmax; cross_entropy expects logits and takes the softmax itself.",
        {
            "self.readout(torch.tanh(self.hidden(X)))": (
                "torch.softmax(self.readout(torch.tanh(self.hidden(X))), dim=1)"
            ),
        },
    ),
    Mistake(
        "MLP",
        "graph_cut",
        "the graph is cut between the layers (`detach`, `.data` or `.numpy()`): outputs are right, and no gradient "
        "reaches the hidden layer.",
        {"torch.tanh(self.hidden(X))": "torch.tanh(self.hidden(X)).detach()"},
    ),
    Mistake(
        "MLP",
        "names_exchanged",
        "`hidden` is the first layer, from D to H; `readout` the second, from H to K.",
        {"self.hidden": "self.swap", "self.readout": "self.hidden", "self.swap": "self.readout"},
    ),
    Mistake(
        "MLP",
        "without_bias",
        "a layer has no bias; equations (5) and (6) add one each.",
        {"nn.Linear(D, H)": "nn.Linear(D, H, bias=False)"},
    ),
    Mistake(
        "Softplus",
        "typed_in",
        "exp(x) overflows for large x. Use the right-hand form of equation (14).",
        {"x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))": "torch.log(1 + torch.exp(x))"},
    ),
    Mistake(
        "Softplus",
        "one_plus_rounds",
        "far below zero the result loses its digits, since 1 + u rounds. `torch.log1p(u)` does not form the sum.",
        {"torch.log1p(torch.exp(-x.abs()))": "torch.log(1 + torch.exp(-x.abs()))"},
    ),
    Mistake(
        "Softplus",
        "relu_part_missing",
        "the term max(x, 0) of equation (14) is missing.",
        {"x.clamp(min=0) + ": ""},
    ),
    Mistake(
        "Softplus",
        "absolute_value_missing",
        "exp(-x) overflows for large negative x: equation (14) has |x| in the exponent.",
        {"-x.abs()": "-x"},
    ),
    Mistake(
        "Softplus",
        "slope_overflows",
        "the slope is computed as e^x / (1 + e^x), which is inf / inf for large x. `torch.sigmoid` is stable.",
        {"torch.sigmoid(x)": "torch.exp(x) / (1 + torch.exp(x))"},
    ),
    Mistake(
        "Softplus",
        "slope_at_the_output",
        "the slope is taken at the output; equation (15) needs the input, so that is what must be saved.",
        {"torch.sigmoid(x)": "torch.sigmoid(x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())))"},
    ),
    Mistake(
        "Softplus",
        "upstream_ignored",
        "the gradient from above is not used: the backward pass multiplies it by the slope.",
        {"dout * torch.sigmoid(x)": "torch.sigmoid(x)"},
    ),
    Mistake(
        "Softplus",
        "second_derivative",
        "this is σ(1 - σ), the derivative of the sigmoid; the slope of softplus is σ itself.",
        {"dout * torch.sigmoid(x)": "dout * torch.sigmoid(x) * (1 - torch.sigmoid(x))"},
    ),
    Mistake(
        "Softplus",
        "slope_of_relu",
        "this is the slope of a relu, a step; that of softplus is the sigmoid.",
        {"dout * torch.sigmoid(x)": "dout * (x > 0)"},
    ),
    Mistake(
        "train",
        "no_zero_grad",
        "old gradients are not cleared: `backward` adds to what `.grad` holds, so every step repeats all those before.",
        {"        model.zero_grad()\n": ""},
    ),
    Mistake(
        "train",
        "zero_grad_after_the_step",
        "gradients are cleared after the update only, so what the model holds at the start gets into the first step.",
        {
            "        model.zero_grad()\n": "",
            "losses.append(loss.item())": "losses.append(loss.item())\n        model.zero_grad()",
        },
    ),
    Mistake(
        "train",
        "tensors_kept",
        "the list holds tensors, each with its whole graph. `.item()` makes a plain number of the loss.",
        {"loss.item()": "loss"},
    ),
    Mistake(
        "train",
        "update_recorded",
        "if torch speaks of a leaf that is used in-place: parameters may be changed only inside `torch.no_grad()`. "
        "If it says that nothing requires grad: the graph of the loss was cut, by `detach`, `.data` or `.item()`.",
        {"with torch.no_grad():": "if True:"},
    ),
    Mistake(
        "train",
        "parameters_unchanged",
        "the parameters never change. `parameter = …` only gives the loop's variable another value: change it in "
        "place. Or were the gradients cleared between `backward` and the update?",
        {"parameter -= lr * parameter.grad": "parameter = parameter - lr * parameter.grad"},
    ),
    Mistake(
        "train",
        "uphill",
        "the steps go uphill: equation (16) subtracts the gradient.",
        {"parameter -= lr": "parameter += lr"},
    ),
    Mistake(
        "train",
        "rate_ignored",
        "the learning rate is not used.",
        {"lr * parameter.grad": "0.1 * parameter.grad"},
    ),
    Mistake(
        "train",
        "adam",
        "this is Adam; equation (16) is plain gradient descent, torch.optim.SGD.",
        {
            "    losses = []\n": "    losses = []\n    optimiser = torch.optim.Adam(model.parameters(), lr=lr)\n",
            "parameter -= lr * parameter.grad": "pass",
            "losses.append(loss.item())": "optimiser.step()\n        losses.append(loss.item())",
        },
    ),
    Mistake(
        "train",
        "loss_after_the_update",
        "each loss is computed after the update; the one before it is asked for.",
        {"losses.append(loss.item())": "losses.append(nn.functional.cross_entropy(model(X), y).item())"},
    ),
    Mistake(
        "train",
        "softmax_twice",
        "the logits go through a softmax before the loss, which takes it once more.",
        {"cross_entropy(model(X), y)": "cross_entropy(torch.softmax(model(X), dim=1), y)"},
    ),
]
