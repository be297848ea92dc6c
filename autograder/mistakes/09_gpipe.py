"""What learners may write instead in 09, with the hint for each."""

from autograder.engine.judge.mistakes import Mistake

_SPLIT_ALL = """    best = np.full((K + 1, L + 1), np.inf)
    best[0, 0] = 0.0
    last = np.zeros((K + 1, L + 1), dtype=int)  # where the last cell of the best split starts
    for k in range(1, K + 1):
        for stop in range(k, L + 1):
            heaviest = np.maximum(best[k - 1, :stop], total[stop] - total[:stop])
            last[k, stop] = np.argmin(heaviest)
            best[k, stop] = heaviest[last[k, stop]]
    cells, stop = [], L
    for k in range(K, 0, -1):
        cells.append((int(last[k, stop]), stop))
        stop = cells[-1][0]
    return cells[::-1]"""

_WAVES = """    for op, k, m, before, duration in waves:
        start = max(free[k], ended.get((op, before, m), 0.0))
        free[k] = ended[op, k, m] = start + duration
        events.append((op, k, m, start, start + duration))
"""

_AGAIN = """        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(ctx.state)
            out = ctx.cell(x)
"""

MISTAKES = [
    # balanced_partition
    Mistake(
        "balanced_partition",
        "greedy_up_to_the_average",
        "this closes a cell as soon as it would pass the average cost, and the last cell takes what is left. The best"
        " place of a cut depends on what comes after it.",
        {
            _SPLIT_ALL: """    cells, start = [], 0
    for k in range(K - 1):
        stop = start + 1
        while stop < L - (K - 1 - k) and total[stop + 1] - total[start] <= total[L] / K:
            stop += 1
        cells.append((start, stop))
        start = stop
    return [*cells, (start, L)]
"""
        },
    ),
    Mistake(
        "balanced_partition",
        "same_number_of_layers",
        "every cell gets the same number of layers, and the last one the rest. Equation (1) asks for costs to be "
        "even, not numbers of layers.",
        {
            _SPLIT_ALL: "    size = L // K\n    return [(k * size, (k + 1) * size if k < K - 1 else L) for k in "
            "range(K)]\n"
        },
    ),
    Mistake(
        "balanced_partition",
        "even_numbers_of_layers",
        "the layers are dealt out as np.array_split does, without looking at their costs. Equation (1) balances costs.",
        {
            _SPLIT_ALL: "    parts = np.array_split(np.arange(L), K)\n"
            "    return [(int(part[0]), int(part[-1]) + 1) for part in parts]\n"
        },
    ),
    Mistake(
        "balanced_partition",
        "cuts_at_equal_shares_of_the_total",
        "each cut is put where the running sum passes k/K of the total. That is near the best split only when layers "
        "are small; two cuts may even fall on the same layer.",
        {
            _SPLIT_ALL: "    cuts = np.searchsorted(total, np.arange(1, K) * total[L] / K).tolist()\n"
            "    return list(zip([0, *cuts], [*cuts, L], strict=True))\n"
        },
    ),
    Mistake(
        "balanced_partition",
        "empty_cells_allowed",
        "some cells are empty. In V(k, s) the last cell holds at least one layer, and 0 cells hold 0 layers and "
        "nothing else.",
        {
            "for stop in range(k, L + 1):": "for stop in range(L + 1):",
            "best[k - 1, :stop], total[stop] - total[:stop]": "best[k - 1, : stop + 1], total[stop] - total[: "
            "stop + 1]",
            "best[0, 0] = 0.0": "best[0] = total",
            "np.argmin(heaviest)": "len(heaviest) - 1 - np.argmin(heaviest[::-1])",
        },
    ),
    Mistake(
        "balanced_partition",
        "sum_in_place_of_maximum",
        "the value of a split is the sum of its cells' costs, which is the same for all splits. The slowest cell "
        "counts: take the maximum.",
        {
            "np.maximum(best[k - 1, :stop], total[stop] - total[:stop])": "best[k - 1, :stop] + total[stop] - "
            "total[:stop]"
        },
    ),
    Mistake(
        "balanced_partition",
        "last_cell_alone_counts",
        "only the cost of the last cell is minimised; the recurrence takes the larger of it and of V(k - 1, r).",
        {
            "np.maximum(best[k - 1, :stop], total[stop] - total[:stop])": "np.where("
            "np.isinf(best[k - 1, :stop]), np.inf, total[stop] - total[:stop])"
        },
    ),
    Mistake(
        "balanced_partition",
        "cells_in_reverse",
        "the cells are in the order in which the walk back finds them, last one first. Reverse them.",
        {"cells[::-1]": "cells"},
    ),
    Mistake(
        "balanced_partition",
        "stop_included",
        "the second number of a pair is the last layer of the cell. As in a slice, it is the first layer after it.",
        {"cells.append((int(last[k, stop]), stop))": "cells.append((int(last[k, stop]), stop - 1))"},
    ),
    # gpipe_schedule
    Mistake(
        "gpipe_schedule",
        "serial_clock",
        "one clock ticks for all devices, so never more than one works. Each device has a time of its own at which it"
        " is free.",
        {"start = max(free[k], ended.get((op, before, m), 0.0))": "start = max(free)"},
    ),
    Mistake(
        "gpipe_schedule",
        "backward_from_device_0",
        "the backward wave runs from the first device to the last. The gradient arrives at the loss, behind the last "
        "device, and travels down.",
        {
            '("B", k, m, k + 1, tb) for m in reversed(range(M)) for k in reversed(range(K))': '("B", k, m, k - 1, tb) '
            "for m in reversed(range(M)) for k in range(K)"
        },
    ),
    Mistake(
        "gpipe_schedule",
        "no_flush",
        "each micro-batch goes back as soon as it is through. That is allowed in other schedules; in GPipe all "
        "forward passes of a device come first.",
        {
            "    waves += [": "    back = [",
            "for k in reversed(range(K))]\n": "for k in reversed(range(K))]\n"
            "    waves = [w for m in range(M) for w in [*waves, *back] if w[2] == m]\n",
        },
    ),
    Mistake(
        "gpipe_schedule",
        "barrier_at_each_step",
        "all devices wait for the slowest in every step, as if a bell rang for all. An operation starts when its own "
        "device is free and its own input has arrived.",
        {
            _WAVES: """    for step in range(M + K - 1):
        for op, k, m, _, duration in waves[: K * M]:
            if k + m == step:
                events.append((op, k, m, step * max(tf, tb), step * max(tf, tb) + duration))
    for step in range(M + K - 1):
        for op, k, m, _, duration in waves[K * M :]:
            if K - 1 - k + m == step:
                start = (M + K - 1 + step) * max(tf, tb)
                events.append((op, k, m, start, start + duration))
"""
        },
    ),
    Mistake(
        "gpipe_schedule",
        "input_not_awaited",
        "an operation starts as soon as its device is free, whether or not its input has arrived from the neighbour.",
        {"max(free[k], ended.get((op, before, m), 0.0))": "free[k]"},
    ),
    Mistake(
        "gpipe_schedule",
        "device_not_awaited",
        "an operation starts as soon as its input is there, although its device may still be busy with another "
        "micro-batch.",
        {"max(free[k], ended.get((op, before, m), 0.0))": "ended.get((op, before, m), 0.0)"},
    ),
    Mistake(
        "gpipe_schedule",
        "backward_as_long_as_forward",
        "backward passes take the time of forward ones; they take tb.",
        {"k + 1, tb)": "k + 1, tf)"},
    ),
    Mistake(
        "gpipe_schedule",
        "backward_missing",
        "only forward passes are scheduled.",
        {"    waves += [": "    _ = ["},
    ),
    Mistake(
        "gpipe_schedule",
        "duration_in_place_of_end",
        "the last entry of an event is how long it takes; it should be the time at which it ends.",
        {"m, start, start + duration))": "m, start, duration))"},
    ),
    # bubble_fraction
    Mistake(
        "bubble_fraction",
        "idle_at_the_start_only",
        "only the time before each device's first event is counted. Devices also wait between the waves and at the "
        "end.",
        {
            "    return 1.0 - busy / (K * (last - first))": "    begins = [min((e[3] for e in events if e[1] == k), "
            "default=last) for k in range(K)]\n    return sum(begin - first for begin in begins) / (K * (last - "
            "first))"
        },
    ),
    Mistake(
        "bubble_fraction",
        "utilisation",
        "this is the share of time in which devices work. The bubble is the rest.",
        {"1.0 - busy": "busy"},
    ),
    Mistake(
        "bubble_fraction",
        "from_time_zero",
        "the time is counted from 0, but a schedule may start at any time: take the earliest start.",
        {"(last - first)": "last"},
    ),
    Mistake(
        "bubble_fraction",
        "only_devices_with_events",
        "the number of devices is taken from the events. A device that never works is idle all the time: use K.",
        {"(K * (last": "(len({k for _, k, *_ in events}) * (last"},
    ),
    Mistake(
        "bubble_fraction",
        "one_device_long",
        "the time is counted once, though K devices spend it.",
        {"(K * (last - first))": "(last - first)"},
    ),
    Mistake(
        "bubble_fraction",
        "formula_of_the_flushed_schedule",
        "this is equation (4), which holds for GPipe's own schedule. Equation (3) holds for any list of events.",
        {
            "    return 1.0 - busy / (K * (last - first))": "    return (K - 1) / (len({m for _, _, m, *_ in "
            "events}) + K - 1)"
        },
    ),
    Mistake(
        "bubble_fraction",
        "last_event_of_the_list",
        "the list need not be in order of time: the last end is the largest, not that of the last event.",
        {"max(end for *_, end in events)": "events[-1][-1]"},
    ),
    # peak_activations
    Mistake(
        "peak_activations",
        "recomputation_missing",
        "with re-materialisation only the kept inputs are counted. While a backward pass runs, the inputs of the "
        "other layers are there as well.",
        {"held + ((layers[k] - 1) * sizes[m] if remat else 0)": "held"},
    ),
    Mistake(
        "peak_activations",
        "recomputes_all_layers",
        "the recomputed rows include the cell's own input, which is held already: the others are one fewer.",
        {"(layers[k] - 1) * sizes[m]": "layers[k] * sizes[m]"},
    ),
    Mistake(
        "peak_activations",
        "recomputed_rows_kept",
        "recomputed rows stay after the backward pass that needed them, so they pile up.",
        {
            "                held -= kept": "                held += (layers[k] - 1) * sizes[m] if remat else 0\n"
            "                held -= kept"
        },
    ),
    Mistake(
        "peak_activations",
        "never_released",
        "nothing is released when a backward pass ends, so the peak is the sum of all micro-batches.",
        {"                held -= kept\n": ""},
    ),
    Mistake(
        "peak_activations",
        "released_too_early",
        "a micro-batch is released before its backward pass has run; until it ends, all of it is needed.",
        {
            "                peak = max(peak, held + ((": "                held -= kept\n                peak = "
            "max(peak, held + ((",
            "                held -= kept\n        peaks": "        peaks",
        },
    ),
    Mistake(
        "peak_activations",
        "order_of_the_list",
        "the events are taken in the order of the list. They may come in any order: sort them by their start.",
        {
            "sorted((start, op, m) for op, device, m, start, _ in events if device == k)": "[(start, op, m) for "
            "op, device, "
            "m, start, _ in events if device == k]"
        },
    ),
    Mistake(
        "peak_activations",
        "flags_swapped",
        "the two ways are swapped: with `remat` a cell keeps its input only.",
        {
            "kept = sizes[m] if remat else": "kept = sizes[m] if not remat else",
            "* sizes[m] if remat else 0": "* sizes[m] if not remat else 0",
        },
    ),
    Mistake(
        "peak_activations",
        "held_at_the_end",
        "this is what is held when all is done. The peak is the most at any time: keep a maximum.",
        {"peaks.append(peak)": "peaks.append(held)"},
    ),
    # stage_backward
    Mistake(
        "stage_backward",
        "mask_missing_on_the_way_back",
        "the dropout factors r are missing in dx: a unit that was dropped gets a gradient, and the kept ones are not "
        "scaled.",
        {"* r * (1.0 - t**2)": "* (1.0 - t**2)"},
    ),
    Mistake(
        "stage_backward",
        "mask_missing_in_dW",
        "dW is computed from t. What is multiplied by W in the forward pass is r times t.",
        {"(r * t).T": "t.T"},
    ),
    Mistake(
        "stage_backward",
        "tanh_derivative_missing",
        "dx does not go through tanh: the factor 1 - t² of equation (7) is missing.",
        {" * (1.0 - t**2)": ""},
    ),
    Mistake(
        "stage_backward",
        "derivative_of_the_dropped_value",
        "the derivative of tanh is taken at r times t. It is 1 - t² with the t from before dropout.",
        {"(1.0 - t**2)": "(1.0 - (r * t) ** 2)"},
    ),
    Mistake(
        "stage_backward",
        "bias_averaged",
        "db is averaged over the rows. The bias is added to every row, so its gradient is their sum.",
        {"dout.sum(axis=0)": "dout.mean(axis=0)"},
    ),
    Mistake(
        "stage_backward",
        "divided_by_the_batch",
        "the gradients are divided by the number of rows. The mean is in the loss, so dout holds it already.",
        {"((r * t).T @ dout, dout.sum(axis=0))": "((r * t).T @ dout / len(t), dout.sum(axis=0) / len(t))"},
    ),
    Mistake(
        "stage_backward",
        "gradients_in_reverse",
        "grads is in the order of the loop, last layer first. Return it in the order of the stage.",
        {"grads[::-1]": "grads"},
    ),
    Mistake(
        "stage_backward",
        "layers_forward",
        "the loop starts with the first layer. The last layer's gradient is known first.",
        {"in reversed(cache)": "in cache", "grads[::-1]": "grads"},
    ),
    Mistake(
        "stage_backward",
        "weights_gradient_after_the_step_back",
        "dW and db of a layer use the gradient of its input. They need that of its output: compute them before `dout`"
        " is replaced.",
        {
            "        grads.append(((r * t).T @ dout, dout.sum(axis=0)))\n": "        dy = (dout @ W.T) * r * "
            "(1.0 - t**2)\n"
            "        grads.append((t.T @ dy, dy.sum(axis=0)))\n"
        },
    ),
    Mistake(
        "stage_backward",
        "upstream_of_ones",
        "dout is not used: this is the gradient of the sum of all outputs.",
        {"    grads = []\n": "    grads = []\n    dout = np.ones_like(dout)\n"},
    ),
    # pipeline_grads
    Mistake(
        "pipeline_grads",
        "plain_average_over_micro_batches",
        "every micro-batch has the weight 1/M. That is right only if all have the same size; equation (8) has n_m / N.",
        {"share = len(rows) / len(X)": "share = 1 / M"},
    ),
    Mistake(
        "pipeline_grads",
        "averaged_twice",
        "the sum is divided by M on top of the weights, so the result depends on M. The weights n_m / N already add "
        "up to one.",
        {"share = len(rows) / len(X)": "share = len(rows) / len(X) / M"},
    ),
    Mistake(
        "pipeline_grads",
        "not_weighted",
        "the mean losses of the micro-batches are added as they are, so the result grows with M.",
        {"share = len(rows) / len(X)": "share = 1.0"},
    ),
    Mistake(
        "pipeline_grads",
        "divided_by_the_examples_again",
        "each micro-batch's mean is divided by N. It is a mean already: the weight is n_m / N.",
        {"share = len(rows) / len(X)": "share = 1 / len(X)"},
    ),
    Mistake(
        "pipeline_grads",
        "loss_weighted_gradient_not",
        "the loss is weighted by n_m / N, and the gradient that goes back is not.",
        {"        dx = share * dx\n": ""},
    ),
    Mistake(
        "pipeline_grads",
        "gradient_weighted_loss_not",
        "the gradients are weighted, and the loss is not: it is the sum of the micro-batches' means.",
        {"total += share * value": "total += value"},
    ),
    Mistake(
        "pipeline_grads",
        "last_micro_batch_only",
        "only the last micro-batch's gradients are returned: add them up.",
        {"dW += dW_m": "dW[:] = dW_m", "db += db_m": "db[:] = db_m"},
    ),
    Mistake(
        "pipeline_grads",
        "whole_batch_at_once",
        "the batch is not cut: `loss` sees all examples at once. The gradient is right, and the memory that "
        "micro-batches save is spent.",
        {"np.array_split(np.arange(len(X)), M)": "[np.arange(len(X))]"},
    ),
    Mistake(
        "pipeline_grads",
        "remainder_dropped",
        "the examples that are left over when M does not divide N are dropped.",
        {"np.array_split(np.arange(len(X)), M)": "np.arange(len(X) // M * M).reshape(M, -1)"},
    ),
    Mistake(
        "pipeline_grads",
        "stages_forward_on_the_way_back",
        "the gradient visits the stages in the order of the forward pass; it must start at the last one.",
        {
            "zip(reversed(grads), reversed(caches), strict=True)": "zip(grads, caches, strict=True)",
            "dx, found = stage_backward(dx, cache)": "dx, found = stage_backward(np.resize(dx, "
            "(len(rows), cache[-1][0].shape[1])), cache)",
        },
    ),
    Mistake(
        "pipeline_grads",
        "gradient_not_handed_down",
        "every stage gets the gradient of the loss. A stage's upstream is the dx that the stage above it returned.",
        {
            "dx, found = stage_backward(dx, cache)": "_, found = stage_backward(np.resize(dx, (len(rows), "
            "cache[-1][0].shape[1])), cache)"
        },
    ),
    # remat_backward
    Mistake(
        "remat_backward",
        "fresh_random_numbers",
        "the second forward pass draws other masks: the generator is not set to the state that was kept.",
        {"    rng.bit_generator.state = state\n": "    rng = np.random.default_rng(0)\n"},
    ),
    Mistake(
        "remat_backward",
        "dropout_left_out",
        "the second forward pass runs without dropout, so it is another network's.",
        {"stage_forward(stage, x, p, rng)": "stage_forward(stage, x)"},
    ),
    Mistake(
        "remat_backward",
        "generator_moved_on",
        "the generator has drawn once before the second forward pass, so all masks are shifted.",
        {"    rng.bit_generator.state = state\n": "    rng.bit_generator.state = state\n    rng.random(x.shape)\n"},
    ),
    Mistake(
        "remat_backward",
        "each_layer_from_the_same_state",
        "every layer starts from the kept state, so layers of the same width drop the same units. The state is that "
        "before the *first* draw; later layers draw on.",
        {
            "    _, fresh = stage_forward(stage, x, p, rng)\n": "    fresh, h = [], x\n    for layer in stage:\n"
            "        rng.bit_generator.state = state\n        h, cache = stage_forward([layer], h, p, rng)\n"
            "        fresh += cache\n"
        },
    ),
    Mistake(
        "remat_backward",
        "output_in_place_of_input",
        "the second forward pass starts from tanh(x). What was kept is the stage's input as it was.",
        {"stage_forward(stage, x, p, rng)": "stage_forward(stage, np.tanh(x), p, rng)"},
    ),
    Mistake(
        "remat_backward",
        "upstream_of_ones",
        "dout is not used: this is the gradient of the sum of all outputs.",
        {"stage_backward(dout, fresh)": "stage_backward(np.ones_like(dout), fresh)"},
    ),
    Mistake(
        "remat_backward",
        "scaled_by_the_keep_rate_again",
        "dx is divided by 1 - p once more; r holds that factor already.",
        {
            "    return stage_backward(dout, fresh)": "    dx, grads = stage_backward(dout, fresh)\n    return "
            "dx / (1 - p), grads"
        },
    ),
    # PipelineModel
    Mistake(
        "PipelineModel",
        "plain_list_of_cells",
        "the cells are in a plain list, where the module does not see their parameters: use nn.ModuleList.",
        {
            "nn.ModuleList(nn.Sequential(*layers[start:stop]) for start, stop in cuts)": "[nn.Sequential("
            "*layers[start:stop]) for start, stop in cuts]"
        },
    ),
    Mistake(
        "PipelineModel",
        "reentrant_checkpoint",
        "the output has no graph. The older, re-entrant variant makes one only if its input requires a gradient, and "
        "data does not. Say use_reentrant=False.",
        {"use_reentrant=False": "use_reentrant=True"},
    ),
    Mistake(
        "PipelineModel",
        "never_recomputes",
        "`remat` changes nothing: with it every layer must run a second time, in the backward pass.",
        {"checkpoint(cell, x, use_reentrant=False) if self.remat else cell(x)": "cell(x)"},
    ),
    Mistake(
        "PipelineModel",
        "always_recomputes",
        "cells recompute without `remat` too.",
        {
            "checkpoint(cell, x, use_reentrant=False) if self.remat else cell(x)": "checkpoint(cell, x, "
            "use_reentrant=False)"
        },
    ),
    Mistake(
        "PipelineModel",
        "whole_model_checkpointed",
        "the whole model is one checkpoint, which keeps only the first input and recomputes everything at once. Each "
        "cell needs its own.",
        {
            "        for cell in self.cells:\n": "        if self.remat:\n"
            "            return checkpoint(nn.Sequential(*self.cells), x, use_reentrant=False)\n        for cell "
            "in self.cells:\n"
        },
    ),
    Mistake(
        "PipelineModel",
        "each_layer_checkpointed",
        "every layer is a checkpoint of its own, so every layer's input is kept, and nothing is saved.",
        {
            "        for cell in self.cells:\n": "        for cell in (layer for cell in self.cells for layer in "
            "cell):\n",
        },
    ),
    Mistake(
        "PipelineModel",
        "other_random_numbers",
        "the second run of a layer draws other random numbers: checkpoint restores torch's generator unless it is "
        "told not to.",
        {"use_reentrant=False": "use_reentrant=False, preserve_rng_state=False"},
    ),
    Mistake(
        "PipelineModel",
        "last_layer_of_each_cell_lost",
        "the stop of a pair is taken for the last layer's successor too early: cell k holds the layers start, …, stop"
        " - 1.",
        {"layers[start:stop]": "layers[start : max(start + 1, stop - 1)]"},
    ),
    Mistake(
        "PipelineModel",
        "detached_between_cells",
        "the activations are detached between cells: the output is right, and no gradient reaches the cells before "
        "the last.",
        {
            "        return x": "            x = x if cell is self.cells[-1] else x.detach().requires_grad_()\n  "
            "      return x"
        },
    ),
    # microbatch_step
    Mistake(
        "microbatch_step",
        "cleared_in_every_micro_batch",
        "the gradients are cleared inside the loop, so only the last micro-batch's are left.",
        {"        loss = F.cross": "        optimiser.zero_grad()\n        loss = F.cross"},
    ),
    Mistake(
        "microbatch_step",
        "never_cleared",
        "gradients of the step before are still there: clear them once, at the start.",
        {"    optimiser.zero_grad()\n": ""},
    ),
    Mistake(
        "microbatch_step",
        "step_in_every_micro_batch",
        "the optimiser steps after every micro-batch, so later ones see other weights. It steps once, at the end.",
        {
            "        total += loss.item()\n    optimiser.step()": "        total += loss.item()\n        "
            "optimiser.step()"
        },
    ),
    Mistake(
        "microbatch_step",
        "losses_not_weighted",
        "the mean losses of the micro-batches are added as they are: loss and gradient grow with M.",
        {" * (len(x_m) / len(X))": ""},
    ),
    Mistake(
        "microbatch_step",
        "plain_average",
        "every micro-batch has the weight 1/M, which is right only if all have the same size.",
        {"(len(x_m) / len(X))": "(1 / M)"},
    ),
    Mistake(
        "microbatch_step",
        "weight_in_the_report_only",
        "the loss that is reported is weighted, the one that goes back is not.",
        {
            " * (len(x_m) / len(X))": "",
            "total += loss.item()": "total += loss.item() * (len(x_m) / len(X))",
        },
    ),
    Mistake(
        "microbatch_step",
        "chunks_of_equal_size",
        "`chunk` and `split` cut into parts of one size and a smaller rest, and may give fewer than M parts. Use "
        "tensor_split.",
        {"X.tensor_split(M), y.tensor_split(M)": "X.chunk(M), y.chunk(M)"},
    ),
    Mistake(
        "microbatch_step",
        "one_backward_at_the_end",
        "the losses are summed and go back together. The gradient is right, but the graphs of all micro-batches exist"
        " at once, which is what micro-batches should avoid.",
        {
            "        loss.backward()\n        total += loss.item()\n": "        total = total + loss\n",
            "    optimiser.step()\n": "    total.backward()\n    optimiser.step()\n",
            "return total": "return total.item()",
        },
    ),
    Mistake(
        "microbatch_step",
        "loss_is_a_tensor",
        "the loss is returned as a tensor, which keeps its graph, and all activations with it, alive. Return a float.",
        {"total += loss.item()": "total = total + loss"},
    ),
    Mistake(
        "microbatch_step",
        "last_loss_only",
        "only the last micro-batch's loss is reported; the loss is that of all examples.",
        {"total += loss.item()": "total = loss.item()"},
    ),
    Mistake(
        "microbatch_step",
        "batch_not_cut",
        "the whole batch goes through the model at once. The gradient is right, and the memory is not saved.",
        {"X.tensor_split(M), y.tensor_split(M)": "[X], [y]"},
    ),
    # saved_bytes
    Mistake(
        "saved_bytes",
        "counted_twice",
        "a storage that is saved twice is counted twice. Keep an account by address, in a dict.",
        {
            "kept[storage.data_ptr()] = storage.nbytes()": "kept[len(kept), storage.data_ptr()] = storage.nbytes()",
            "for pointer, size in": "for (_, pointer), size in",
        },
    ),
    Mistake(
        "saved_bytes",
        "parameters_counted",
        "the parameters are counted. They exist anyway, whatever autograd keeps.",
        {" if pointer not in own": ""},
    ),
    Mistake(
        "saved_bytes",
        "parameters_by_identity",
        "a transposed or cut parameter is counted, as it is not the same tensor. It is the same storage: compare "
        "addresses of storages.",
        {
            "own = {p.untyped_storage().data_ptr() for p in parameters}": "own, parameters = set(), list(parameters)",
            "        storage = t.untyped": "        if any(t is p for p in parameters):\n            return t\n"
            "        storage = t.untyped",
        },
    ),
    Mistake(
        "saved_bytes",
        "tensors_in_place_of_storages",
        "tensors are told apart by where *they* begin, so views of one storage count several times, or in part. Take "
        "`t.untyped_storage()`.",
        {
            "kept[storage.data_ptr()] = storage.nbytes()": "kept[t.data_ptr(), t.shape, t.stride()] = t.numel() * "
            "t.element_size()",
            "for pointer, size in kept.items() if pointer": "for pointer, size in kept.items() if pointer[0]",
        },
    ),
    Mistake(
        "saved_bytes",
        "size_of_the_view",
        "a view is counted by its own elements, and keeps all of its storage alive: take the storage's nbytes.",
        {"= storage.nbytes()": "= t.numel() * t.element_size()"},
    ),
    Mistake(
        "saved_bytes",
        "elements_in_place_of_bytes",
        "these are elements, not bytes; a float64 takes 8.",
        {"= storage.nbytes()": "= storage.nbytes() // t.element_size()"},
    ),
    Mistake(
        "saved_bytes",
        "eight_bytes_for_everything",
        "every element is taken for 8 bytes; masks and float32 take less.",
        {"= storage.nbytes()": "= storage.nbytes() // t.element_size() * 8"},
    ),
    Mistake(
        "saved_bytes",
        "pack_returns_nothing",
        "the graph no longer works: what `pack` returns is all that autograd has when it goes back, so return the "
        "tensor.",
        {"        return t\n": ""},
    ),
    Mistake(
        "saved_bytes",
        "tensors_detached",
        "`pack` returns a copy, which takes the memory a second time. Return the tensor itself, and count what is "
        "kept once.",
        {
            "kept[storage.data_ptr()] = storage.nbytes()\n        return t": "kept[storage.data_ptr()] = 2 * "
            "storage.nbytes()\n"
            "        return t.clone()"
        },
    ),
    Mistake(
        "saved_bytes",
        "hooks_around_nothing",
        "`run` is called outside the `with` block, so the hooks see nothing.",
        {"        result = run()\n": "        pass\n    result = run()\n"},
    ),
    Mistake(
        "saved_bytes",
        "run_twice",
        "`run` is called twice: once to count and once for the result. The result of the call that was counted will "
        "do.",
        {"    return result, sum": "    result = run()\n    return result, sum"},
    ),
    # Checkpoint
    Mistake(
        "Checkpoint",
        "enable_grad_missing",
        "autograd is off inside `backward` too: without torch.enable_grad() the second forward pass records no graph.",
        {"torch.enable_grad(), torch.random": "torch.random"},
    ),
    Mistake(
        "Checkpoint",
        "gradients_of_parameters_lost",
        "only x gets a gradient. The parameters were arguments too: return one gradient for each.",
        {
            "return None, *torch.autograd.grad(out, (x, *ctx.cell.parameters()), dout)": "return None, "
            "*torch.autograd.grad(out, (x,), dout), *[None for _ in ctx.cell.parameters()]"
        },
    ),
    Mistake(
        "Checkpoint",
        "gradient_of_x_lost",
        "x gets no gradient, so nothing in front of this cell learns.",
        {
            "return None, *torch.autograd.grad(out, (x, *ctx.cell.parameters()), dout)": "return None, None, "
            "*torch.autograd.grad(out, tuple(ctx.cell.parameters()), dout)"
        },
    ),
    Mistake(
        "Checkpoint",
        "parameters_counted_twice",
        "the parameters' gradients are both added to `.grad` and returned, so they count twice.",
        {
            "return None, *torch.autograd.grad(out, (x, *ctx.cell.parameters()), dout)": "found = torch.autograd.grad("
            "out, (x, *ctx.cell.parameters()), dout, retain_graph=True)\n        torch.autograd.backward(out, dout)\n"
            "        return None, *found"
        },
    ),
    Mistake(
        "Checkpoint",
        "upstream_of_ones",
        "dout is not used: this is the gradient of the sum of the outputs.",
        {"ctx.cell.parameters()), dout)": "ctx.cell.parameters()), torch.ones_like(dout))"},
    ),
    Mistake(
        "Checkpoint",
        "not_detached",
        "an input that is data requires no gradient, so there is none to ask for: detach x, and let the copy require "
        "one.",
        {"        x = x.detach().requires_grad_()\n": ""},
    ),
    Mistake(
        "Checkpoint",
        "random_state_not_restored",
        "the second run draws other random numbers than the first: set the state that ctx kept.",
        {"            torch.set_rng_state(ctx.state)\n": ""},
    ),
    Mistake(
        "Checkpoint",
        "generator_not_put_back",
        "the gradients are right, but torch's generator stays where the second run left it, so later draws repeat "
        "earlier ones. fork_rng puts it back.",
        {"torch.enable_grad(), torch.random.fork_rng(devices=[])": "torch.enable_grad()"},
    ),
    Mistake(
        "Checkpoint",
        "state_of_the_backward_pass",
        "the random state is taken in `backward`. It must be that from before the first run.",
        {"torch.set_rng_state(ctx.state)": "torch.set_rng_state(torch.get_rng_state())\n            torch.rand(1)"},
    ),
    Mistake(
        "Checkpoint",
        "graph_kept",
        "the graph of the first run is kept and used, so nothing is recomputed and no memory is saved.",
        {
            "        ctx.save_for_backward(x)\n        return cell(x)": "        with torch.enable_grad():\n"
            "            ctx.x = x.detach().requires_grad_()\n            ctx.out = cell(ctx.x)\n        return "
            "ctx.out.detach()",
            "        (x,) = ctx.saved_tensors\n        x = x.detach().requires_grad_()\n"
            + _AGAIN: "        x, out = ctx.x, ctx.out\n",
        },
    ),
    Mistake(
        "Checkpoint",
        "output_kept_too",
        "the output is saved besides the input. Only the input is needed to run again.",
        {
            "        ctx.save_for_backward(x)\n        return cell(x)": "        out = cell(x)\n"
            "        ctx.save_for_backward(x, out)\n        return out",
            "(x,) = ctx.saved_tensors": "x, _ = ctx.saved_tensors",
        },
    ),
]
