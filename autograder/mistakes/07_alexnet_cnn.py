"""What learners may write instead in 07, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

COLUMNS = "windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * k * k, -1)"
PADDED = "((0, 0), (0, 0), (pad, pad), (pad, pad))"
NEAR = "sum(squares[:, j : j + x.shape[1]] for j in range(n))"
PADDED_SQUARES = "np.pad(x**2, ((0, 0), (n // 2, n // 2), (0, 0), (0, 0)))"

MISTAKES = [
    # im2col
    Mistake(
        "im2col",
        "channel_last_in_a_column",
        "a column lists the pixels first and the channels within them. Channels come first: channel, row, column.",
        {"transpose(0, 1, 4, 5, 2, 3)": "transpose(0, 4, 5, 1, 2, 3)"},
    ),
    Mistake(
        "im2col",
        "window_transposed",
        "within a window, columns run before rows. Read it row by row.",
        {"transpose(0, 1, 4, 5, 2, 3)": "transpose(0, 1, 5, 4, 2, 3)"},
    ),
    Mistake(
        "im2col",
        "windows_in_the_wrong_order",
        "the windows are counted column by column. Their order is row by row, as the pixels of the output are.",
        {"transpose(0, 1, 4, 5, 2, 3)": "transpose(0, 1, 4, 5, 3, 2)"},
    ),
    Mistake(
        "im2col",
        "reshaped_without_transposing",
        "the view is reshaped as it is, so that a row of the result mixes windows. Move k, k behind the channel first.",
        {"windows.transpose(0, 1, 4, 5, 2, 3).reshape": "windows.reshape"},
    ),
    Mistake(
        "im2col",
        "windows_as_rows",
        "the windows are the rows of the result; they should be its columns: (N, C·k·k, H'·W').",
        {COLUMNS: COLUMNS + ".swapaxes(1, 2)"},
    ),
    Mistake(
        "im2col",
        "padding_on_one_side",
        "the zeros stand only above and to the left. Padding goes on all four sides.",
        {PADDED: "((0, 0), (0, 0), (pad, 0), (pad, 0))"},
    ),
    Mistake(
        "im2col",
        "padded_with_the_edge",
        "the frame repeats the pixels at the edge. Pad with zeros.",
        {f"np.pad(x, {PADDED})": f'np.pad(x, {PADDED}, mode="edge")'},
    ),
    Mistake(
        "im2col",
        "stride_ignored",
        "every window is kept. With stride s only every s-th one in both directions belongs in.",
        {"[:, :, ::stride, ::stride]": "[:, :]"},
    ),
    Mistake(
        "im2col",
        "stride_on_one_axis",
        "the stride acts in one direction only.",
        {"::stride, ::stride]": "::stride]"},
    ),
    # conv2d_forward
    Mistake(
        "conv2d_forward",
        "kernel_flipped",
        "the kernel is turned by 180°: that is the convolution of mathematics. Equation (2) does not turn it.",
        {"w.reshape(groups": "w[:, :, ::-1, ::-1].reshape(groups"},
    ),
    Mistake(
        "conv2d_forward",
        "kernel_transposed",
        "rows and columns of the kernel are exchanged.",
        {"w.reshape(groups": "w.swapaxes(2, 3).reshape(groups"},
    ),
    Mistake(
        "conv2d_forward",
        "bias_missing",
        "the bias is not added.",
        {" + b[:, None, None]": ""},
    ),
    Mistake(
        "conv2d_forward",
        "sides_swapped",
        "rows and columns of the output are exchanged; try a picture that is not square.",
        {"for side in (H, W)": "for side in (W, H)"},
    ),
    Mistake(
        "conv2d_forward",
        "groups_interleaved",
        "the filters are dealt out to the groups one by one. Each group has consecutive filters.",
        {"out.reshape(N, F, rows, columns)": "out.swapaxes(1, 2).reshape(N, F, rows, columns)"},
    ),
    Mistake(
        "conv2d_forward",
        "groups_in_reverse",
        "the filters of one group read the channels of another: group g of both belong together.",
        {"reshape(N, groups, -1, rows * columns)": "reshape(N, groups, -1, rows * columns)[:, ::-1]"},
    ),
    Mistake(
        "conv2d_forward",
        "first_group_for_all",
        "all filters read the channels of the first group.",
        {"reshape(N, groups, -1, rows * columns)": "reshape(N, groups, -1, rows * columns)[:, :1]"},
    ),
    Mistake(
        "conv2d_forward",
        "stride_ignored_in_the_size",
        "the stride is missing from the size of the output, equation (1).",
        {"(side + 2 * pad - k) // stride + 1": "side + 2 * pad - k + 1", "stride, pad).reshape": "1, pad).reshape"},
    ),
    Mistake(
        "conv2d_forward",
        "size_without_one",
        "the size of the output lacks the + 1 of equation (1): the last window in each direction is lost.",
        {
            "// stride + 1 for": "// stride for",
            "im2col(x, k, stride, pad).reshape(N, groups, -1, rows * columns)": "im2col(x, k, stride, pad).reshape("
            "N, groups, -1, rows + 1, columns + 1)[..., :-1, :-1].reshape(N, groups, -1, rows * columns)",
        },
    ),
    # maxpool_forward
    Mistake(
        "maxpool_forward",
        "mean_pooling",
        "this is the mean of a window, not its maximum.",
        {"return out, (": "return flat.mean(axis=-1), ("},
    ),
    Mistake(
        "maxpool_forward",
        "windows_do_not_overlap",
        "the windows start every k pixels. They start every `stride` pixels, and so may overlap.",
        {"::stride, ::stride]": "::k, ::k]"},
    ),
    Mistake(
        "maxpool_forward",
        "stride_on_one_axis",
        "the stride acts in one direction only.",
        {"::stride, ::stride]": "::stride]"},
    ),
    Mistake(
        "maxpool_forward",
        "padded_with_zeros",
        "zeros are added around the picture: they win wherever all values are negative. There is no padding here.",
        {
            "windows = np.lib": "x = np.pad(x, ((0, 0), (0, 0), (0, stride - 1), (0, stride - 1)))\n"
            "    windows = np.lib",
        },
    ),
    Mistake(
        "maxpool_forward",
        "starts_from_zero",
        "the maximum starts from 0, so negative values are lost. Start from the first value of the window.",
        {"return out, (": "return np.maximum(out, 0.0), ("},
    ),
    Mistake(
        "maxpool_forward",
        "largest_magnitude",
        "the value of largest magnitude is taken. A pool takes the largest value, with its sign.",
        {"return out, (": "return np.abs(flat).max(axis=-1), ("},
    ),
    Mistake(
        "maxpool_forward",
        "over_channels",
        "the maximum is also taken over the channels. Each channel is pooled by itself.",
        {"return out, (": "return flat.max(axis=(1, -1), keepdims=True)[..., 0], ("},
    ),
    # lrn_forward
    Mistake(
        "lrn_forward",
        "alpha_divided_by_n",
        "alpha is divided by n, as PyTorch does it. In the paper's equation (4) it is not.",
        {"k + alpha * sum": "k + alpha / n * sum"},
    ),
    Mistake(
        "lrn_forward",
        "over_space",
        "the sum runs over neighbouring pixels. It runs over neighbouring channels, at one pixel.",
        {
            PADDED_SQUARES: "np.pad(x**2, ((0, 0), (0, 0), (n // 2, n // 2), (0, 0)))",
            NEAR: "sum(squares[:, :, j : j + x.shape[2]] for j in range(n))",
        },
    ),
    Mistake(
        "lrn_forward",
        "channels_before_only",
        "only the channels before and the channel itself are in the sum. It reaches n/2 to either side.",
        {PADDED_SQUARES: "np.pad(x**2, ((0, 0), (n - 1, 0), (0, 0), (0, 0)))"},
    ),
    Mistake(
        "lrn_forward",
        "last_neighbour_missing",
        "the window is one channel too short: both ends, i - n/2 and i + n/2, belong to the sum.",
        {"for j in range(n))": "for j in range(max(n - 1, 1)))"},
    ),
    Mistake(
        "lrn_forward",
        "channels_in_a_ring",
        "the channels wrap around: the last is taken for a neighbour of the first. At the ends the sum is shorter.",
        {NEAR: "sum(np.roll(x**2, j - n // 2, axis=1) for j in range(n))"},
    ),
    Mistake(
        "lrn_forward",
        "not_squared",
        "the sum is that of the values. Equation (4) sums their squares.",
        {"np.pad(x**2": "np.pad(np.abs(x)"},
    ),
    Mistake(
        "lrn_forward",
        "multiplied",
        "the input is multiplied by the power of the bracket. Equation (4) divides by it.",
        {"scale**-beta": "scale**beta"},
    ),
    Mistake(
        "lrn_forward",
        "exponent_missing",
        "the exponent β is missing: this divides by the bracket itself.",
        {"scale**-beta": "scale**-1.0"},
    ),
    Mistake(
        "lrn_forward",
        "constant_missing",
        "the constant k is missing in the bracket.",
        {"k + alpha": "alpha"},
    ),
    Mistake(
        "lrn_forward",
        "constant_outside_the_power",
        "k is added after the power. In equation (4) it is inside the bracket.",
        {"x * scale**-beta, (": "x / (k + (scale - k) ** beta), ("},
    ),
    # augment
    Mistake(
        "augment",
        "one_crop_for_all",
        "all pictures get the crop of the first. Each row of `corners` belongs to one picture.",
        {
            "images[n, :, top : top + size, left : left + size]": "images[n, :, corners[0][0] : corners[0][0] + size, "
            "corners[0][1] : corners[0][1] + size]"
        },
    ),
    Mistake(
        "augment",
        "upside_down",
        "the crops are turned upside down. Left to right is the last axis.",
        {"crop[:, :, ::-1]": "crop[:, ::-1]"},
    ),
    Mistake(
        "augment",
        "channels_reversed",
        "the flip reverses the colours, red for blue. The last axis runs from left to right.",
        {"crop[:, :, ::-1]": "crop[::-1]"},
    ),
    Mistake(
        "augment",
        "flip_ignored",
        "no picture is mirrored, whatever `flips` says.",
        {"crop[:, :, ::-1] if flips[n] else crop": "crop"},
    ),
    Mistake(
        "augment",
        "all_flipped",
        "every picture is mirrored. Only those where `flips` is true should be.",
        {" if flips[n] else crop": ""},
    ),
    Mistake(
        "augment",
        "flipped_before_the_crop",
        "the picture is mirrored before it is cut, so the crop comes from the other side. Cut first, mirror then.",
        {
            "crop = images[n, :, top : top + size, left : left + size]": "whole = images[n, :, :, ::-1] if flips[n] "
            "else images[n]\n        crop = whole[:, top : top + size, left : left + size]",
            "crop[:, :, ::-1] if flips[n] else crop": "crop",
        },
    ),
    Mistake(
        "augment",
        "corner_transposed",
        "row and column of the corner are exchanged: the first number is the row.",
        {"n, (top, left) in": "n, (left, top) in"},
    ),
    Mistake(
        "augment",
        "eigenvectors_in_rows",
        "the rows of `vectors` are taken for eigenvectors. They are its columns.",
        {"@ vectors.T": "@ vectors"},
    ),
    Mistake(
        "augment",
        "root_of_the_eigenvalues",
        "the colours are shifted by the root of the eigenvalues. Equation (5) has α times λ itself.",
        {"alphas * values": "alphas * np.sqrt(values)"},
    ),
    Mistake(
        "augment",
        "eigenvalues_missing",
        "the eigenvalues are not used: each component is shifted by α alone.",
        {"(alphas * values)": "alphas"},
    ),
    Mistake(
        "augment",
        "one_colour_for_all",
        "all pictures get the colour shift of the first; α has a row per picture.",
        {"alphas * values": "alphas[:1] * values"},
    ),
    Mistake(
        "augment",
        "colours_not_shifted",
        "the colours are not shifted.",
        {" + ((alphas * values) @ vectors.T)[:, :, None, None]": ""},
    ),
    # conv2d_backward
    Mistake(
        "conv2d_backward",
        "overwritten_where_windows_overlap",
        "where windows overlap, dx holds the gradient of one of them. A pixel gets the sum over all its windows.",
        {"part += dcols": "part[:] = dcols"},
    ),
    Mistake(
        "conv2d_backward",
        "padding_not_cut_off",
        "dx still has the frame of padding. Its shape is that of x.",
        {"dx[:, :, pad : pad + H, pad : pad + W], dw": "dx, dw"},
    ),
    Mistake(
        "conv2d_backward",
        "padding_cut_at_the_end",
        "the frame is cut at one end only: x begins `pad` pixels inside it.",
        {"pad : pad + H, pad : pad + W": ":H, :W"},
    ),
    Mistake(
        "conv2d_backward",
        "stride_ignored",
        "dx is put together as if the stride were 1. Neighbouring windows begin `stride` pixels apart.",
        {
            "i : i + stride * rows : stride, j : j + stride * columns : stride": "i : i + rows, j : j + columns",
        },
    ),
    Mistake(
        "conv2d_backward",
        "kernel_flipped",
        "in dx the kernel is turned by 180°. It is the *convolution* with the turned kernel that gives dx; col2im with "
        "the kernel as it is has turned it already.",
        {"dcols[:, :, i, j]": "dcols[:, :, k - 1 - i, k - 1 - j]"},
    ),
    Mistake(
        "conv2d_backward",
        "place_transposed",
        "row and column within the window are exchanged when dx is put together.",
        {"dcols[:, :, i, j]": "dcols[:, :, j, i]"},
    ),
    Mistake(
        "conv2d_backward",
        "dw_averaged",
        "dw is the mean over the batch. All pictures used the same filter, so their gradients add.",
        {".sum(axis=0).reshape(w.shape)": ".mean(axis=0).reshape(w.shape)"},
    ),
    Mistake(
        "conv2d_backward",
        "dw_of_one_picture",
        "dw is that of the first picture. All pictures used the same filter, so their gradients add.",
        {".sum(axis=0).reshape(w.shape)": "[0].reshape(w.shape)"},
    ),
    Mistake(
        "conv2d_backward",
        "db_averaged",
        "db is a mean. The bias is added at every place of every picture, so its gradient is the sum.",
        {"dout.sum(axis=(0, 2, 3))": "dout.mean(axis=(0, 2, 3))"},
    ),
    Mistake(
        "conv2d_backward",
        "db_not_summed_over_the_batch",
        "db still has a row per picture; sum over the batch as well.",
        {"dout.sum(axis=(0, 2, 3))": "dout.sum(axis=(2, 3))"},
    ),
    Mistake(
        "conv2d_backward",
        "upstream_of_ones",
        "the upstream gradient is not used: this is the gradient of the sum of the output.",
        {"    _, F, rows": "    dout = np.ones_like(dout)\n    _, F, rows"},
    ),
    Mistake(
        "conv2d_backward",
        "groups_in_reverse",
        "in dx the groups are exchanged: what the filters of group g send back goes to the channels of group g.",
        {".swapaxes(1, 2) @ D": ".swapaxes(1, 2)[::-1] @ D[:, ::-1]"},
    ),
    # maxpool_backward
    Mistake(
        "maxpool_backward",
        "overwritten_where_windows_overlap",
        "a pixel that wins several windows keeps the gradient of one of them. It gets the sum.",
        {"part += dout * (winner == place)": "part[winner == place] = dout[winner == place]"},
    ),
    Mistake(
        "maxpool_backward",
        "shared_by_the_window",
        "every pixel of a window gets its gradient. Only the winner had any influence.",
        {"dout * (winner == place)": "dout"},
    ),
    Mistake(
        "maxpool_backward",
        "mean_pooling",
        "the gradient is spread evenly over the window: that is the backward pass of mean pooling.",
        {"dout * (winner == place)": "dout / (k * k)"},
    ),
    Mistake(
        "maxpool_backward",
        "stride_ignored",
        "windows begin `stride` pixels apart; here they begin one pixel apart.",
        {"i : i + stride * rows : stride, j : j + stride * columns : stride": "i : i + rows, j : j + columns"},
    ),
    Mistake(
        "maxpool_backward",
        "place_transposed",
        "the winner's number counts row by row; here it is read column by column.",
        {"i, j = divmod(place, k)": "j, i = divmod(place, k)"},
    ),
    Mistake(
        "maxpool_backward",
        "upstream_of_ones",
        "the upstream gradient is not used: this counts how many windows a pixel wins.",
        {"dout * (winner == place)": "winner == place"},
    ),
    Mistake(
        "maxpool_backward",
        "first_place_for_all",
        "the gradient goes to the first pixel of each window, not to its winner.",
        {"(winner == place)": "(place == 0)"},
    ),
    # lrn_backward
    Mistake(
        "lrn_backward",
        "cross_channel_term_missing",
        "only the numerator is differentiated. Each activation also stands in the sums of its neighbours: the second "
        "term of equation (8).",
        {" - 2 * alpha * beta * x * near": ""},
    ),
    Mistake(
        "lrn_backward",
        "own_channel_only",
        "of the second term only the channel itself is there. An activation is in the sums of all channels near it.",
        {"beta * x * near": "beta * x * term"},
    ),
    Mistake(
        "lrn_backward",
        "factor_two_missing",
        "the factor 2 from the derivative of the square is missing.",
        {"2 * alpha * beta": "alpha * beta"},
    ),
    Mistake(
        "lrn_backward",
        "beta_missing",
        "the factor β from the derivative of the power is missing.",
        {"2 * alpha * beta": "2 * alpha"},
    ),
    Mistake(
        "lrn_backward",
        "sign_of_the_second_term",
        "the second term has the wrong sign: a stronger activation makes the neighbours' outputs smaller.",
        {"- 2 * alpha": "+ 2 * alpha"},
    ),
    Mistake(
        "lrn_backward",
        "power_not_lowered",
        "inside the sum the bracket has the power -β. The derivative lowers it to -β - 1.",
        {"scale ** (-beta - 1)": "scale**-beta"},
    ),
    Mistake(
        "lrn_backward",
        "alpha_divided_by_n",
        "alpha is divided by n in the backward pass; in equation (4) it is not.",
        {"2 * alpha * beta": "2 * alpha / n * beta"},
    ),
    Mistake(
        "lrn_backward",
        "power_of_the_own_channel",
        "the power in the sum is that of channel i. Each neighbour j has a bracket of its own: (S^j).",
        {
            "term = dout * x * scale ** (-beta - 1)": "term = dout * x",
            "beta * x * near": "beta * x * near * scale ** (-beta - 1)",
        },
    ),
    Mistake(
        "lrn_backward",
        "upstream_outside_the_sum",
        "the upstream gradient in the second term is that of channel i. Inside the sum each neighbour has its own.",
        {"term = dout * x * scale": "term = x * scale", "beta * x * near": "beta * x * dout * near"},
    ),
    # Dropout
    Mistake(
        "Dropout",
        "inverted",
        "this is the inverted form: divided by q in training, unchanged at test time. The paper's scales at test time.",
        {"mask if train else np.full_like(x, self.keep)": "mask / self.keep if train else np.ones_like(x)"},
    ),
    Mistake(
        "Dropout",
        "scaled_in_both",
        "the output is scaled twice: divided by q in training and multiplied by q at test time. One of them is enough.",
        {"mask if train": "mask / self.keep if train"},
    ),
    Mistake(
        "Dropout",
        "not_scaled",
        "at test time all units are there and nothing makes up for it: the next layer gets too much. Multiply by q.",
        {"np.full_like(x, self.keep)": "np.ones_like(x)"},
    ),
    Mistake(
        "Dropout",
        "scaled_by_the_drop_rate",
        "at test time the output is multiplied by 1 - q, the rate of dropping. q is the probability of being kept.",
        {"self.keep)": "1 - self.keep)"},
    ),
    Mistake(
        "Dropout",
        "modes_swapped",
        "the two modes are exchanged: the mask counts in training.",
        {"mask if train else np.full_like(x, self.keep)": "np.full_like(x, self.keep) if train else mask"},
    ),
    Mistake(
        "Dropout",
        "mask_inverted",
        "units with mask 1 are dropped. A 1 means that the unit is kept.",
        {"mask if train": "1 - mask if train"},
    ),
    Mistake(
        "Dropout",
        "gradient_not_masked",
        "the gradient passes through units that were off. Multiply it by what x was multiplied by.",
        {"return dout * factor": "return dout"},
    ),
    # sgd_momentum
    Mistake(
        "sgd_momentum",
        "decay_without_the_rate",
        "the decay is not multiplied by the learning rate: in equation (10) it is λ ε w.",
        {"decay * lr * w": "decay * w"},
    ),
    Mistake(
        "sgd_momentum",
        "decay_twice",
        "the decay is subtracted twice, in the velocity and from the weights. Equation (10) has it in the velocity.",
        {"w + new[name] for": "w + new[name] - decay * lr * w for"},
    ),
    Mistake(
        "sgd_momentum",
        "decay_missing",
        "the weight decay is missing.",
        {" - decay * lr * w": ""},
    ),
    Mistake(
        "sgd_momentum",
        "decay_pushes_outwards",
        "the decay has the wrong sign: it should pull the weights towards zero.",
        {"- decay * lr": "+ decay * lr"},
    ),
    Mistake(
        "sgd_momentum",
        "uphill",
        "the gradient is added: this climbs the loss.",
        {"- lr * grads": "+ lr * grads"},
    ),
    Mistake(
        "sgd_momentum",
        "velocity_subtracted",
        "the velocity is subtracted from the weights. In the paper's form the minus signs are in the velocity already.",
        {"w + new": "w - new"},
    ),
    Mistake(
        "sgd_momentum",
        "torch_form",
        "this is PyTorch's form, in which the velocity is a sum of gradients and the rate is multiplied later. The "
        "weights are the same as long as the rate is, the velocity is not.",
        {
            "- decay * lr * w - lr * grads[name]": "+ decay * w + grads[name]",
            "w + new": "w - lr * new",
        },
    ),
    Mistake(
        "sgd_momentum",
        "gradient_averaged_in",
        "the gradient is multiplied by 1 - μ, as in a running mean. Equation (10) adds it in full.",
        {"- lr * grads": "- lr * (1 - momentum) * grads"},
    ),
    Mistake(
        "sgd_momentum",
        "momentum_missing",
        "the old velocity is forgotten; μ times it stays.",
        {"momentum * velocity[name] - decay": "-decay"},
    ),
    # MiniAlexNet
    Mistake(
        "MiniAlexNet",
        "softmax_before_the_loss",
        "the module returns probabilities. cross_entropy takes the softmax itself: return the logits.",
        {
            "return self.fc2(self.dropout(torch.relu(self.fc1(x))))": "return self.fc2(self.dropout(torch.relu("
            "self.fc1(x)))).softmax(dim=1)"
        },
    ),
    Mistake(
        "MiniAlexNet",
        "conv2_without_groups",
        "conv2 reads all channels. It has two groups: its weights have shape (24, 6, 3, 3).",
        {", groups=2": ""},
    ),
    Mistake(
        "MiniAlexNet",
        "relu_after_the_norm",
        "the first two ReLUs come after the normalisation. The paper normalises what comes out of the ReLU.",
        {
            "self.lrn1(torch.relu(self.conv1(x)))": "torch.relu(self.lrn1(self.conv1(x)))",
            "self.lrn2(torch.relu(self.conv2(x)))": "torch.relu(self.lrn2(self.conv2(x)))",
        },
    ),
    Mistake(
        "MiniAlexNet",
        "normalised_after_pooling",
        "the normalisation comes after the pooling. In Figure 1 it comes before.",
        {
            "self.pool(self.lrn1(torch.relu(self.conv1(x))))": "self.lrn1(self.pool(torch.relu(self.conv1(x))))",
            "self.pool(self.lrn2(torch.relu(self.conv2(x))))": "self.lrn2(self.pool(torch.relu(self.conv2(x))))",
        },
    ),
    Mistake(
        "MiniAlexNet",
        "torch_norm_with_the_papers_alpha",
        "PyTorch's normalisation divides its alpha by n: with the paper's alpha it normalises five times less.",
        {
            "self.lrn1, self.lrn2 = LRN(12), LRN(24)": "self.lrn1 = self.lrn2 = "
            "nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)",
        },
    ),
    Mistake(
        "MiniAlexNet",
        "third_relu_missing",
        "no ReLU follows conv3: two linear layers in a row are one.",
        {"torch.relu(self.conv3(x)).flatten(1)": "self.conv3(x).flatten(1)"},
    ),
    Mistake(
        "MiniAlexNet",
        "hidden_relu_missing",
        "no ReLU follows fc1: two linear layers in a row are one.",
        {"self.dropout(torch.relu(self.fc1(x)))": "self.dropout(self.fc1(x))"},
    ),
    Mistake(
        "MiniAlexNet",
        "logits_through_relu",
        "the last layer has a ReLU behind it, so no logit can be negative.",
        {
            "return self.fc2(self.dropout(torch.relu(self.fc1(x))))": "return torch.relu(self.fc2(self.dropout("
            "torch.relu(self.fc1(x)))))"
        },
    ),
    Mistake(
        "MiniAlexNet",
        "dropout_at_test_time",
        "dropout also acts when the module is in eval mode. nn.Dropout, or training=self.training, looks at the mode.",
        {
            "self.dropout(torch.relu": "nn.functional.dropout(torch.relu",
            "(self.fc1(x))))": "(self.fc1(x)), 0.5, True))",
        },
    ),
    Mistake(
        "MiniAlexNet",
        "dropout_missing",
        "nothing is dropped in training.",
        {"self.dropout(torch.relu(self.fc1(x)))": "torch.relu(self.fc1(x))"},
    ),
    Mistake(
        "MiniAlexNet",
        "dropout_on_the_logits",
        "dropout acts on the logits. It belongs on the hidden units of fc1.",
        {"self.fc2(self.dropout(torch.relu(self.fc1(x))))": "self.dropout(self.fc2(torch.relu(self.fc1(x))))"},
    ),
    Mistake(
        "MiniAlexNet",
        "dropout_on_the_features",
        "dropout acts on what fc1 receives. It belongs on its hidden units, after the ReLU.",
        {"self.fc2(self.dropout(torch.relu(self.fc1(x))))": "self.fc2(torch.relu(self.fc1(self.dropout(x))))"},
    ),
    Mistake(
        "MiniAlexNet",
        "pooling_without_overlap",
        "the pools are of 2 × 2 pixels, without overlap. The paper's windows have 3 pixels and start every 2.",
        {"nn.MaxPool2d(3, 2)": "nn.MaxPool2d(2, 2, padding=0)", "24 * 3 * 3": "24 * 4 * 4"},
    ),
    # ten_crop
    Mistake(
        "ten_crop",
        "logits_averaged",
        "the logits are averaged and the softmax is taken of the mean. Equation (12) averages the probabilities.",
        {
            "model(crop).softmax(dim=1) for crop in crops]).mean(dim=0)": "model(crop) for crop in crops]).mean("
            "dim=0).softmax(dim=1)",
        },
    ),
    Mistake(
        "ten_crop",
        "logits_returned",
        "these are mean logits: the softmax is missing.",
        {"model(crop).softmax(dim=1)": "model(crop)"},
    ),
    Mistake(
        "ten_crop",
        "judged_in_training_mode",
        "the model is never told that it is being tested: call eval() before, or dropout is still at work.",
        {"    model.eval()\n": ""},
    ),
    Mistake(
        "ten_crop",
        "left_in_eval_mode",
        "the model stays in the mode of testing: the rest of training would run without dropout.",
        {"    model.train(was_training)\n": ""},
    ),
    Mistake(
        "ten_crop",
        "always_back_to_training",
        "the model is always put into training mode, also if it came in the mode of testing.",
        {"model.train(was_training)": "model.train()"},
    ),
    Mistake(
        "ten_crop",
        "no_mirror_images",
        "only the five crops are used; their mirror images are missing.",
        {"    crops += [crop.flip(3) for crop in crops]\n": ""},
    ),
    Mistake(
        "ten_crop",
        "upside_down",
        "the mirror images are upside down. Left to right is the last axis.",
        {"flip(3)": "flip(2)"},
    ),
    Mistake(
        "ten_crop",
        "centre_missing",
        "the central crop is missing: four corners and the centre make five.",
        {"in corners]": "in corners[:4]]"},
    ),
    Mistake(
        "ten_crop",
        "central_crop_only",
        "only the central crop is looked at, and its mirror image.",
        {"in corners]": "in corners[4:]]"},
    ),
    Mistake(
        "ten_crop",
        "summed",
        "the probabilities are summed over the crops, so rows add up to 10. Take the mean.",
        {".mean(dim=0)": ".sum(dim=0)"},
    ),
    Mistake(
        "ten_crop",
        "graph_kept",
        "the result still has its graph, which keeps the activations of ten passes in memory. Use torch.no_grad().",
        {"with torch.no_grad():": "if True:"},
    ),
    Mistake(
        "ten_crop",
        "softmax_over_the_batch",
        "the softmax runs over the pictures; it should run over the classes.",
        {"softmax(dim=1)": "softmax(dim=0)"},
    ),
]
