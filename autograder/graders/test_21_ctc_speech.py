"""Probes of 21: collapsing, the CTC recursions and gradient, error rates, prefix search, an RNN, a small recogniser."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

HALVES = np.log(np.full((2, 2), 0.5))  # two frames, two classes
# classes and labels: possible or not, and with exactly as many frames as are needed
TIGHT = [(4, [2, 2, 2]), (5, [2, 2, 2]), (2, [1, 2, 1]), (3, [1, 2, 1]), (1, [1, 1]), (6, [1, 1, 2, 2])]


def draw_labels(rng, count, classes, blank):
    """Labels other than blank; with few classes many are repeated."""
    return rng.choice([k for k in range(classes) if k != blank], size=count).astype(np.int64)


def draw_logp(rng, frames, classes, scale=2.0):
    """Log-probabilities that are neither flat nor certain."""
    z = scale * rng.standard_normal((frames, classes))
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def draw_sparse(rng, frames, classes, share):
    """Log-probabilities of which a share, never the largest of a frame, is exactly -inf."""
    logp = draw_logp(rng, frames, classes)
    logp[(rng.random(logp.shape) < share) & (logp < logp.max(axis=1, keepdims=True))] = -np.inf
    return logp - np.logaddexp.reduce(logp, axis=1, keepdims=True)


def draw_utterance(rng, frames, classes, count):
    """Log-probabilities, a blank that need not be 0, and labels."""
    blank = int(rng.integers(classes))
    return draw_logp(rng, frames, classes), draw_labels(rng, count, classes, blank), blank


# Paths and states ---------------------------------------------------------------------------------------------------


@probe("collapse")
def two_paths(impl, rng):
    yield "with a blank between", impl.collapse([0, 3, 3, 0, 3, 5], 0)
    yield "without one", impl.collapse([3, 3, 3], 0)
    yield "of no frames", impl.collapse([], 0)
    yield "of blanks alone", impl.collapse([2, 2, 2], 2)


# in the last case classes have several digits, as thousands of characters do
@probe("collapse", cases=[(9, 2, 0), (12, 3, 0), (30, 3, 0), (200, 6, 0), (40, 3, 4095)])
def drawn_paths(impl, rng, frames, classes, first):
    blanks = (first + rng.integers(classes, size=8)).tolist()
    paths = first + rng.integers(classes, size=(8, frames))
    yield "labels of eight paths", [impl.collapse(path.tolist(), b) for path, b in zip(paths, blanks, strict=True)]


@probe("collapse", cases=[20])
def path_as_an_array(impl, rng, frames):
    path = rng.integers(3, size=frames)
    yield "labels", impl.collapse(path)


# only the blank differs between the calls of one case
@probe("collapse", cases=[20])
def the_same_path_with_another_blank(impl, rng, frames):
    path = rng.integers(3, size=frames).tolist()
    yield "labels for each blank", [impl.collapse(path, blank) for blank in range(3)]


@probe("extend_with_blanks")
def twins_and_others(impl, rng):
    for word, labels in {"twins": [3, 3], "others": [3, 5], "one": [4], "none": []}.items():
        found = impl.extend_with_blanks(np.array(labels, dtype=np.int64), 0)
        yield from named(f"l_of_{word} skip_of_{word}", found)


@probe("extend_with_blanks", cases=[(2, 5, 0), (5, 3, 0), (12, 4, 0), (40, 3, 0), (20, 4, 4095)])
def drawn_labels(impl, rng, count, classes, first):
    blank = int(rng.integers(classes))
    y = first + draw_labels(rng, count, classes, blank)
    yield from named("l skip", impl.extend_with_blanks(y, blank))


@probe("extend_with_blanks", cases=[6])
def the_same_labels_with_another_blank(impl, rng, count):
    y = draw_labels(rng, count, 4, 0)
    for blank in (0, 5):
        yield from named(f"l_for_{blank} skip_for_{blank}", impl.extend_with_blanks(y, blank))


# The forward recursion ----------------------------------------------------------------------------------------------


@probe("ctc_alpha")
def three_of_four_paths(impl, rng):
    yield from named("loss log_alpha", impl.ctc_alpha(HALVES, np.array([1])))


@probe("ctc_alpha", cases=[(1, 3, 1), (4, 3, 2), (9, 3, 4), (12, 5, 4), (6, 4, 0), (1, 4, 0)])
def alphas(impl, rng, frames, classes, count):
    logp, y, blank = draw_utterance(rng, frames, classes, count)
    yield from named("loss log_alpha", impl.ctc_alpha(logp, y, blank))


@probe("ctc_alpha", cases=TIGHT)
def as_many_frames_as_needed_or_fewer(impl, rng, frames, labels):
    logp = draw_logp(rng, frames, 3)
    yield from named("loss log_alpha", impl.ctc_alpha(logp, np.array(labels)))


@probe("ctc_alpha", cases=[(7, 3, 2, 0.2), (12, 4, 3, 0.2), (30, 5, 6, 0.1), (20, 4, 3, 0.8)])
def classes_ruled_out(impl, rng, frames, classes, count, share):
    _, y, blank = draw_utterance(rng, frames, classes, count)
    yield from named("loss log_alpha", impl.ctc_alpha(draw_sparse(rng, frames, classes, share), y, blank))


@probe("ctc_alpha", cases=[(7, 5, 3)])
def another_blank(impl, rng, frames, classes, count):
    logp, y = draw_logp(rng, frames, classes), draw_labels(rng, count, 4, 0)
    for blank in (0, 4):
        yield f"loss for {blank}", impl.ctc_alpha(logp, y, blank)[0]


@probe("ctc_alpha", cases=[(400, 12, 60)])
def long_utterance(impl, rng, frames, classes, count):
    logp, y, blank = draw_utterance(rng, frames, classes, count)
    loss, log_alpha = impl.ctc_alpha(logp, y, blank)
    yield "loss", loss
    yield "log_alpha of the last frame", log_alpha[-1]


@probe("ctc_alpha")
def a_sure_network_and_another_label(impl, rng):
    logp = np.tile([0.0, -800.0], (3, 1))
    yield from named("loss log_alpha", impl.ctc_alpha(logp, np.array([1])))


# Errors -------------------------------------------------------------------------------------------------------------


@probe("edit_distance")
def small_edits(impl, rng):
    yield "a deletion", impl.edit_distance([1, 2, 3], [1, 3])
    yield "a swap", impl.edit_distance([1, 2], [2, 1])
    yield "from nothing", impl.edit_distance([], [4, 4, 4])
    yield "to nothing", impl.edit_distance([4, 4], [])
    yield "nothing to nothing", impl.edit_distance([], [])


@probe("edit_distance", cases=[2, 5, 9])
def moved(impl, rng, by):
    labels = rng.permutation(40).tolist()
    yield "of what lies far from its place", impl.edit_distance(labels[:-by], labels[by:])


# in the last cases labels have several digits, and a distance is more than eight bits hold
@probe(
    "edit_distance",
    cases=[(3, 3, 2, 0), (6, 4, 2, 0), (4, 9, 3, 0), (8, 8, 3, 0), (30, 25, 4, 0), (9, 7, 3, 4095), (300, 2, 3, 9)],
)
def distances(impl, rng, n, m, classes, first):
    a, b = (first + rng.integers(classes, size=(12, length)) for length in (n, m))
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    yield "of twelve pairs", [impl.edit_distance(a, b) for a, b in pairs]


@probe("error_rate")
def one_edit_in_five(impl, rng):
    yield "rate", impl.error_rate([[1], [1, 2, 3, 4]], [[2], [1, 2, 3, 4]])
    yield "more edits than labels", impl.error_rate([[1], []], [[2, 3, 3], [1]])


@probe("error_rate", cases=[2, 5, 20])
def corpora(impl, rng, count):
    lengths = rng.integers(1, 14, size=(2, count)).tolist()
    refs, hyps = ([rng.integers(4, size=length).tolist() for length in row] for row in lengths)
    yield "rate", impl.error_rate(refs, hyps)


@probe("error_rate", cases=[4])
def with_empty_transcripts(impl, rng, count):
    refs = [rng.integers(3, size=length).tolist() for length in (0, 3, 5, 2)]
    hyps = [rng.integers(3, size=length).tolist() for length in (2, 0, 4, 6)]
    yield "rate", impl.error_rate(refs, hyps)


# references that occur again, then hypotheses that do; the others are of different lengths, and so are their distances
@probe("error_rate", cases=[6])
def same_words_said_again(impl, rng, count):
    once, others = rng.integers(3, size=4).tolist(), [rng.integers(3, size=5 + n).tolist() for n in range(count)]
    yield "rate", impl.error_rate([once] * count, others)
    yield "rate of equal hypotheses", impl.error_rate(others, [once] * count)


# Search -------------------------------------------------------------------------------------------------------------


def draw_model(rng, classes):
    """A bigram language model, with a weight for it and a bonus."""
    return {
        "lm": draw_logp(rng, classes, classes),
        "a": float(rng.uniform(0.3, 1.5)),
        "b": float(rng.uniform(0.2, 1.5)),
    }


@probe("prefix_beam_search")
def best_path_is_not_best(impl, rng):
    logp = np.log([[0.6, 0.4], [0.6, 0.4]])
    yield from named("labels Q", impl.prefix_beam_search(logp, 4))
    yield from named("labels_with_bonus Q_with_bonus", impl.prefix_beam_search(logp, 4, b=-1.0))


@probe("prefix_beam_search", cases=[(1, 3), (4, 2), (4, 3), (6, 3), (5, 4)])
def with_room_for_all(impl, rng, frames, classes):
    logp, blank = draw_logp(rng, frames, classes, scale=1.0), int(rng.integers(classes))
    yield from named("labels Q", impl.prefix_beam_search(logp, 2000, blank))


@probe("prefix_beam_search", cases=[(4, 3), (6, 3), (5, 4)])
def language_model_and_bonus(impl, rng, frames, classes):
    logp, blank, model = draw_logp(rng, frames, classes), int(rng.integers(classes)), draw_model(rng, classes)
    yield from named("labels Q", impl.prefix_beam_search(logp, 2000, blank, **model))


@probe("prefix_beam_search", cases=[(6, 3), (8, 4)])
def bonus_alone(impl, rng, frames, classes):
    logp, blank, b = draw_logp(rng, frames, classes), int(rng.integers(classes)), float(rng.uniform(0.5, 2.0))
    yield from named("labels Q", impl.prefix_beam_search(logp, 2000, blank, b=b))


@probe("prefix_beam_search", cases=[(6, 3)])
def language_model_alone(impl, rng, frames, classes):
    logp, blank, model = draw_logp(rng, frames, classes), int(rng.integers(classes)), draw_model(rng, classes)
    yield from named("labels Q", impl.prefix_beam_search(logp, 2000, blank, model["lm"], model["a"]))


# after the first frame two prefixes have the very same score; either may be the better one later
@probe("prefix_beam_search", cases=[1, 2])
def two_prefixes_of_equal_score(impl, rng, better):
    logits = rng.uniform(-0.5, 0.5, size=(4, 3))
    logits[0, 1:] = 1.0
    logits[1, better] += 3.0
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    yield from named("labels Q", impl.prefix_beam_search(logp, 50))


# the first case is over soon for a search that keeps all prefixes, too
@probe("prefix_beam_search", cases=[(5, 4, 1), (10, 5, 1), (12, 4, 2), (20, 6, 4), (9, 13, 3)])
def narrow(impl, rng, frames, classes, beam):
    logp, blank, model = draw_logp(rng, frames, classes), int(rng.integers(classes)), draw_model(rng, classes)
    yield from named("labels Q", impl.prefix_beam_search(logp, beam, blank))
    yield from named("labels_with_lm Q_with_lm", impl.prefix_beam_search(logp, beam, blank, **model))


# first probabilities underflow, then many are so small that one may wish to leave them out
@probe("prefix_beam_search", cases=[(900, 5, 2, 0.5), (100, 5, 30, 4.0)])
def hundreds_of_frames(impl, rng, frames, classes, beam, scale):
    logp, blank = draw_logp(rng, frames, classes, scale), int(rng.integers(classes))
    yield from named("labels Q", impl.prefix_beam_search(logp, beam, blank))


# The backward recursion and the gradient ----------------------------------------------------------------------------


@probe("ctc_beta")
def what_is_left(impl, rng):
    yield "log_beta", impl.ctc_beta(HALVES, np.array([1]))


@probe("ctc_beta", cases=[(1, 3, 1), (2, 3, 1), (4, 3, 2), (9, 3, 4), (12, 5, 4), (6, 4, 0), (1, 4, 0)])
def betas(impl, rng, frames, classes, count):
    logp, y, blank = draw_utterance(rng, frames, classes, count)
    yield "log_beta", impl.ctc_beta(logp, y, blank)


@probe("ctc_beta", cases=TIGHT)
def betas_of_short_utterances(impl, rng, frames, labels):
    logp = draw_logp(rng, frames, 3)
    yield "log_beta", impl.ctc_beta(logp, np.array(labels))


@probe("ctc_beta", cases=[(7, 3, 2, 0.2), (12, 4, 3, 0.2), (30, 5, 6, 0.1), (20, 4, 3, 0.8)])
def betas_with_classes_ruled_out(impl, rng, frames, classes, count, share):
    _, y, blank = draw_utterance(rng, frames, classes, count)
    yield "log_beta", impl.ctc_beta(draw_sparse(rng, frames, classes, share), y, blank)


@probe("ctc_beta", cases=[(7, 5, 3)])
def betas_for_another_blank(impl, rng, frames, classes, count):
    logp, y = draw_logp(rng, frames, classes), draw_labels(rng, count, 4, 0)
    for blank in (0, 4):
        yield f"log_beta of the first frame for {blank}", impl.ctc_beta(logp, y, blank)[0]


@probe("ctc_beta", cases=[(400, 12, 60)])
def long_way_to_the_end(impl, rng, frames, classes, count):
    logp, y, blank = draw_utterance(rng, frames, classes, count)
    log_beta = impl.ctc_beta(logp, y, blank)
    yield "log_beta of the first frame", log_beta[0]


@probe("ctc_grad")
def two_thirds(impl, rng):
    yield from named("loss dlogits", impl.ctc_grad(np.zeros((2, 2)), np.array([1])))


# in the last case finite differences run out of time
@probe("ctc_grad", cases=[(1, 3, 1), (5, 3, 2), (4, 4, 2), (9, 3, 4), (12, 5, 4), (6, 4, 0), (1, 4, 0), (400, 12, 60)])
def gradients(impl, rng, frames, classes, count):
    blank = int(rng.integers(classes))
    logits, y = 2 * rng.standard_normal((frames, classes)), draw_labels(rng, count, classes, blank)
    yield from named("loss dlogits", impl.ctc_grad(logits, y, blank))


# the loss of the last case is several thousand nats
@probe("ctc_grad", cases=[(9, 3, 3), (60, 3, 3)])
def far_out(impl, rng, frames, classes, count):
    blank = int(rng.integers(classes))
    logits, y = 300 * rng.standard_normal((frames, classes)), draw_labels(rng, count, classes, blank)
    yield from named("loss dlogits", impl.ctc_grad(logits, y, blank))


@probe("ctc_grad", cases=[(9, 4, 3)])
def frames_far_apart(impl, rng, frames, classes, count):
    logits = rng.standard_normal((frames, classes)) + 1000.0 * rng.permutation(frames)[:, None] - 4000.0
    yield from named("loss dlogits", impl.ctc_grad(logits, draw_labels(rng, count, classes, 0)))


@probe("ctc_grad", cases=[(7, 5, 3)])
def gradients_for_another_blank(impl, rng, frames, classes, count):
    logits, y = rng.standard_normal((frames, classes)), draw_labels(rng, count, 4, 0)
    for blank in (0, 4):
        yield f"dlogits for {blank}", impl.ctc_grad(logits, y, blank)[1]


@probe("ctc_grad", cases=TIGHT)
def one_path_or_none(impl, rng, frames, labels):
    logits = rng.standard_normal((frames, 3))
    yield from named("loss dlogits", impl.ctc_grad(logits, np.array(labels)))


@probe("ctc_grad", cases=[(8, 4, 3)])
def with_own_loss(impl, rng, frames, classes, count):
    logits, y = rng.standard_normal((frames, classes)), draw_labels(rng, count, classes, 0)
    along = rng.standard_normal(logits.shape)
    _, dlogits = impl.ctc_grad(logits, y)
    yield "dlogits", dlogits
    numeric = slope(lambda z: impl.ctc_grad(z, y)[0], logits, along)
    yield "slope along the logits", agree(np.sum(dlogits * along), numeric)


def draw_network(rng, inputs, hidden, classes):
    """Weights of order one, but for those through time, so that rounding does not grow."""
    sizes = {"Wx": (inputs, hidden), "Wh": (hidden, hidden), "b": (hidden,), "V": (hidden, classes), "c": (classes,)}
    params = {name: rng.standard_normal(size) for name, size in sizes.items()}
    for name in ("Wx", "Wh", "V"):
        params[name] /= np.sqrt(len(params[name]))
    return params


@probe("rnn_ctc_backward")
def only_the_last_bias(impl, rng):
    sizes = {"Wx": (1, 1), "Wh": (1, 1), "b": (1,), "V": (1, 2), "c": (2,)}
    params = {name: np.zeros(size) for name, size in sizes.items()}
    found = impl.rnn_ctc_backward(params, np.array([[3.0], [1.0]]), np.array([1]))
    (_, loss), (_, grads) = named("loss grads", found)
    yield "loss", loss
    for name in sorted(params):
        yield f"d{name}", grads[name]


@probe(
    "rnn_ctc_backward", cases=[(2, 1, 1, 2, 1), (5, 3, 4, 3, 2), (6, 2, 4, 4, 2), (12, 2, 5, 4, 4), (60, 6, 8, 12, 20)]
)
def through_time(impl, rng, frames, inputs, hidden, classes, count):
    params, x = draw_network(rng, inputs, hidden, classes), rng.standard_normal((frames, inputs))
    y = draw_labels(rng, count, classes, 0)
    (_, loss), (_, grads) = named("loss grads", impl.rnn_ctc_backward(params, x, y))
    yield "loss", loss
    for name in sorted(params):
        yield f"d{name}", grads[name]


@probe("rnn_ctc_backward", cases=[[1, 1, 1], [2, 1, 2, 2, 1]])
def impossible_labels(impl, rng, labels):
    params, x = draw_network(rng, 2, 3, 3), rng.standard_normal((4, 2))
    (_, loss), (_, grads) = named("loss grads", impl.rnn_ctc_backward(params, x, np.array(labels)))
    yield "loss", loss
    for name in sorted(params):
        yield f"d{name}", grads[name]


# so many weights that differences run out of time, also those of the recurrent part alone
@probe("rnn_ctc_backward", cases=[(300, 16, 256, 8, 60)])
def wide_network(impl, rng, frames, inputs, hidden, classes, count):
    params, x = draw_network(rng, inputs, hidden, classes), rng.standard_normal((frames, inputs))
    y = draw_labels(rng, count, classes, 0)
    (_, loss), (_, grads) = named("loss grads", impl.rnn_ctc_backward(params, x, y))
    yield "loss", loss
    for name in sorted(params):
        yield f"d{name}, its beginning", grads[name][:2]


# The recogniser -----------------------------------------------------------------------------------------------------


def padded(rng, lens, bands):
    """Frames of utterances of different lengths, zero behind their ends."""
    X = rng.standard_normal((len(lens), max(lens), bands))
    for x, length in zip(X, lens, strict=True):
        x[length:] = 0
    return X


@probe("DeepSpeechMini", cases=[([8], 5, 2), ([9, 4, 6], 5, 2), ([5, 11, 12, 7], 3, 3), ([3, 6, 1], 7, 1)])
def recogniser(impl, rng, lens, kernel, stride):
    import torch

    bands, classes, hidden = 3, 5, 4
    X = torch.tensor(padded(rng, lens, bands), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((max(lens), len(lens), classes)))
    seed = int(rng.integers(2**32))

    model = fill(impl.DeepSpeechMini(bands, classes, hidden, kernel, stride).double(), seed)
    yield "parameters", shapes(model)
    logp, out_lens = model(X, torch.tensor(lens))
    yield "out_lens", out_lens
    yield "shape of logp", list(logp.shape)
    real = [(n, (length + 2 * (kernel // 2) - kernel) // stride + 1) for n, length in enumerate(lens)]
    for n, length in real:
        yield f"logp of utterance {n}", logp[:length, n]
    sum(torch.sum(logp[:length, n] * upstream[:length, n]) for n, length in real).backward()
    yield "dX of the real frames", [X.grad[n, :length] for n, length in enumerate(lens)]
    for name, parameter in sorted(model.named_parameters()):
        yield f"d{name}, its beginning", observe(parameter.grad[:2], atol=1e-12)  # 0 for the convolution's bias
    yield "running mean of the normalisation", model.norm.running_mean
    yield "running variance of the normalisation", model.norm.running_var


# activations of a hundred; an utterance that ends in frames of zeros
@probe("DeepSpeechMini", cases=[([9, 4, 6], 1, 0), ([5, 8], 100, 0), ([7, 9, 6], 1, 3)])
def recogniser_in_use(impl, rng, lens, gain, silent):
    import torch

    X, seed = torch.tensor(padded(rng, lens, 2)), int(rng.integers(2**32))
    X[0, lens[0] - silent :] = 0
    mean, variance = torch.tensor(rng.standard_normal(3)), torch.tensor(rng.uniform(0.5, 2, size=3))
    model = fill(impl.DeepSpeechMini(2, 4, 3).double(), seed).eval()
    with torch.no_grad():
        model.norm.running_mean.copy_(mean)
        model.norm.running_var.copy_(variance)
        for parameter in (model.norm.weight, model.norm.bias):
            parameter.mul_(gain)
        for parameter in (model.gru.weight_ih_l0, model.gru.weight_ih_l0_reverse):
            parameter.div_(gain)
        logp, out_lens = model(X, torch.tensor(lens))
        yield "out_lens", out_lens
        for n, length in enumerate(lens):
            yield f"logp of utterance {n}", logp[: (length + 1) // 2, n]
            yield f"logp of utterance {n} by itself", model(X[n : n + 1, :length], torch.tensor([length]))[0]


@probe("DeepSpeechMini", cases=[6])
def gradient_in_evaluation(impl, rng, frames):
    import torch

    model = fill(impl.DeepSpeechMini(2, 4, 3).double(), int(rng.integers(2**32))).eval()
    X = torch.tensor(padded(rng, [frames], 2), requires_grad=True)
    logp, _ = model(X, torch.tensor([frames]))
    logp[:, 0, 1].sum().backward()
    yield "dX", X.grad


@probe("sortagrad_batches")
def three_utterances(impl, rng):
    yield "epoch 0", impl.sortagrad_batches([9, 4, 7], 2, 0, [2, 0, 1])
    yield "epoch 1", impl.sortagrad_batches([9, 4, 7], 2, 1, [2, 0, 1])


def growing(got, expected, *, lens):
    """The same places filled with everybody, in the order of their lengths; equal lengths in any order."""
    flat = [int(i) for batch in got for i in batch]
    if [len(batch) for batch in got] != [len(batch) for batch in expected]:
        return f"batches of {[len(batch) for batch in got]} utterances; {[len(batch) for batch in expected]} are right"
    if sorted(flat) != list(range(len(lens))):
        return f"every index belongs in exactly one batch; all of them, sorted, are {sorted(flat)}"
    if [lens[i] for i in flat] != sorted(lens):
        return "the lengths don't grow from utterance to utterance"
    return None


@probe("sortagrad_batches", cases=[(7, 3), (23, 5), (40, 8)])
def equal_lengths(impl, rng, count, size):
    lens, order = rng.integers(8, 13, size=count).tolist(), rng.permutation(count)
    found = impl.sortagrad_batches(lens, size, 0, order)
    yield "batches", observe(found, judge=growing, given={"lens": lens})


@probe(
    "sortagrad_batches",
    cases=[
        (7, 3, 0, 1),
        (7, 3, 1, 1),
        (12, 4, 0, 1),
        (12, 4, 0, 7000),
        (12, 4, 2, 1),
        (10, 20, 0, 1),
        (23, 5, 7, 1),
        (9, 1, 1, 1),
    ],
)
def batches(impl, rng, count, size, epoch, step):
    lens, order = (step * (rng.permutation(count) + 5)).tolist(), rng.permutation(count)
    yield "batches", impl.sortagrad_batches(lens, size, epoch, order)


def acoustic_model(seed, bands, classes):
    """A linear model of normalised frames that keeps every second one, for one step of training."""
    import torch

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(bands)
            self.W = torch.nn.Parameter(torch.zeros(bands, classes))
            self.b = torch.nn.Parameter(torch.zeros(classes))

        def forward(self, X, lens):
            z = self.norm(X.transpose(1, 2)).transpose(1, 2)[:, ::2] @ self.W + self.b
            return torch.log_softmax(z, dim=-1).transpose(0, 1), (lens + 1) // 2

    return fill(Linear().double(), seed)


@probe("train_step")
def two_frames(impl, rng):
    import torch

    model = acoustic_model(1, 1, 2)
    with torch.no_grad():
        model.W.zero_()
        model.b.zero_()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = impl.train_step(model, optimiser, torch.ones(1, 4, 1).double(), torch.tensor([4]), [torch.tensor([1])], 10.0)
    yield "loss", loss
    yield "b", model.b


# `scale` multiplies the weights, so that losses are hundreds of nats; `groups` are the optimiser's
@probe(
    "train_step",
    cases=[
        ([12], [3], 50.0, 1, 1, True),
        ([14, 9, 12], [2, 1, 3], 50.0, 1, 1, True),
        ([10, 16, 7, 12], [1, 3, 2, 2], 0.3, 1, 1, True),
        ([9, 12, 10], [2, 0, 3], 50.0, 1, 1, True),
        ([80, 70], [3, 5], 5.0, 40, 1, True),
        ([10, 13], [2, 3], 0.3, 1, 2, True),
        ([11, 9], [2, 1], 50.0, 1, 1, False),
    ],
)
def updates(impl, rng, lens, counts, max_norm, scale, groups, training):
    import torch

    X = torch.tensor(padded(rng, lens, 3))
    targets = [torch.tensor(draw_labels(rng, count, 4, 0)) for count in counts]
    seed, stale = int(rng.integers(2**32)), torch.tensor(rng.standard_normal((3, 4)))
    model = acoustic_model(seed, 3, 4)
    with torch.no_grad():
        model.W.mul_(scale)
    model.train(training).W.grad = stale.clone()
    parts = [model.parameters()] if groups == 1 else [[model.b], [model.W, *model.norm.parameters()]]
    optimiser = torch.optim.SGD([{"params": part} for part in parts], lr=0.1, momentum=0.5)
    for step in (1, 2):
        loss = impl.train_step(model, optimiser, X, torch.tensor(lens), targets, max_norm)
        yield f"loss {step}", observe(loss, rtol=1e-6)  # torch clips by norm + 1e-6, others by the norm itself
        for name in ("W", "b"):
            yield f"{name} after step {step}", observe(getattr(model, name).detach().clone(), rtol=1e-6)
    yield "running mean of a normalisation in the model", model.norm.running_mean
