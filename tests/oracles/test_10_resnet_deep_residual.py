"""The references of 10 against torch's layers and autograd, the paper's table, and the stored weights' own scores."""

import numpy as np
import pytest
import torch
from torch import nn

from course import data

SIZES = [(4, 3, 5, 2), (1, 3, 4, 6), (5, 2, 1, 1)]
HELD_SEEDS = (10, 11, 12)  # of course/weights/10.npz
BLOCKS = [
    (3, 2, 4, 5, 4, 2, "A"),
    (2, 3, 3, 4, 5, 1, "A"),
    (2, 2, 5, 3, 4, 1, "A"),
    (3, 2, 4, 7, 4, 2, "B"),
    (2, 3, 4, 5, 5, 2, "plain"),
]


@pytest.fixture(scope="module")
def resnet(reference):
    return reference("10")


def tensor(array):
    return torch.tensor(array, requires_grad=True)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SIZES)
def test_batchnorm_forward_is_torchs(resnet, rng, shape, training):
    x, C = 3 * rng.standard_normal(shape) + 5, shape[1]
    gamma, beta, mean = rng.standard_normal((3, C))
    var = rng.uniform(0.5, 2, size=C)
    norm = nn.BatchNorm2d(C, eps=0.1, momentum=0.3, dtype=torch.float64).train(training)
    norm.load_state_dict(
        {"weight": torch.tensor(gamma), "bias": torch.tensor(beta), "running_mean": torch.tensor(mean)}
        | {"running_var": torch.tensor(var), "num_batches_tracked": torch.tensor(0)}
    )
    y, running, _ = resnet.batchnorm_forward(x, gamma, beta, (mean, var), training, 0.1, 0.3)
    close(y, norm(torch.tensor(x)))
    close(running[0], norm.running_mean)
    close(running[1], norm.running_var)


@pytest.mark.parametrize("shape", SIZES)
def test_batchnorm_backward_is_autograd(resnet, rng, shape):
    x, dy = 3 * rng.standard_normal(shape) + 5, rng.standard_normal(shape)
    gamma, beta = rng.standard_normal((2, shape[1]))
    _, _, cache = resnet.batchnorm_forward(x, gamma, beta, (0 * beta, 0 * beta + 1), eps=0.1)
    leaves = [tensor(a) for a in (x, gamma, beta)]
    nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], training=True, eps=0.1).backward(torch.tensor(dy))
    for ours, leaf in zip(resnet.batchnorm_backward(dy, cache), leaves, strict=True):
        close(ours, leaf.grad)


@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (5, 2), (4, 3)])
def test_shortcuts_are_strided_convolutions_with_their_gradients(resnet, rng, channels, stride):
    x = rng.standard_normal((2, 3, 5, 7))
    for w in (None, rng.standard_normal((channels, 3))):
        out, cache = resnet.shortcut_forward(x, channels, stride, w)
        leaf, kernel = tensor(x), tensor(np.eye(channels, 3) if w is None else w)
        theirs = nn.functional.conv2d(leaf, kernel[:, :, None, None], stride=stride)
        close(out, theirs)
        g = rng.standard_normal(out.shape)
        theirs.backward(torch.tensor(g))
        dx, dw = resnet.shortcut_backward(g, cache)
        close(dx, leaf.grad)
        if w is None:
            assert dw is None
        else:
            close(dw, kernel.grad)


def torch_block(p, x, stride, kind):
    """The block from torch's functions."""

    def norm(v, k):
        return nn.functional.batch_norm(v, None, None, p[f"gamma{k}"], p[f"beta{k}"], training=True)

    h = norm(nn.functional.conv2d(x, p["w1"], stride=stride, padding=1), 1).relu()
    h = norm(nn.functional.conv2d(h, p["w2"], padding=1), 2)
    if kind == "B":
        h = h + nn.functional.conv2d(x, p["proj"][:, :, None, None], stride=stride)
    if kind == "A":
        kernel = torch.eye(len(p["w1"]), x.shape[1], dtype=torch.float64)[:, :, None, None]
        h = h + nn.functional.conv2d(x, kernel, stride=stride)
    return h.relu()


@pytest.mark.parametrize(("N", "C", "channels", "H", "W", "stride", "kind"), BLOCKS)
def test_blocks_are_torchs_functions_with_autograd(resnet, rng, N, C, channels, H, W, stride, kind):
    p = {"w1": rng.standard_normal((channels, C, 3, 3)), "w2": rng.standard_normal((channels, channels, 3, 3))}
    p |= {name: rng.standard_normal(channels) for name in ("gamma1", "beta1", "gamma2", "beta2")}
    if kind == "B":
        p["proj"] = rng.standard_normal((channels, C))
    x = rng.standard_normal((N, C, H, W))
    y, cache = resnet.block_forward(p, x, stride, kind != "plain")
    leaves, leaf = {name: tensor(array) for name, array in p.items()}, tensor(x)
    theirs = torch_block(leaves, leaf, stride, kind)
    close(y, theirs)
    dy = rng.standard_normal(y.shape)
    theirs.backward(torch.tensor(dy))
    dx, grads = resnet.block_backward(dy, cache)
    close(dx, leaf.grad)
    assert set(grads) == set(p)
    for name, gradient in grads.items():
        close(gradient, leaves[name].grad)

    block = resnet.BasicBlock(C, channels, stride, kind).double()
    state = {"conv1.weight": p["w1"], "conv2.weight": p["w2"]}
    for k in (1, 2):
        state |= {f"bn{k}.weight": p[f"gamma{k}"], f"bn{k}.bias": p[f"beta{k}"]}
    if kind == "B":
        state["proj.weight"] = p["proj"][:, :, None, None]
    assert set(state) == {name for name, _ in block.named_parameters()}
    block.load_state_dict({name: torch.tensor(array) for name, array in state.items()}, strict=False)
    leaf = tensor(x)
    module = block(leaf)
    close(y, module)
    module.backward(torch.tensor(dy))
    close(dx, leaf.grad)


@pytest.mark.parametrize("kind", ["plain", "A", "B"])
def test_an_identity_block_copies_and_a_deeper_network_with_it_is_the_same(resnet, kind):
    torch.manual_seed(0)
    shallow = resnet.start(1, kind, 0).double().train()
    for _ in range(3):
        shallow(torch.randn(8, 1, 8, 8, dtype=torch.float64))  # running statistics move
    block = resnet.BasicBlock(4, 4, 1, kind).double()
    block.bn1.running_mean.normal_()
    block.bn2.running_var.uniform_(0.5, 2)
    resnet.make_identity(block)
    x = torch.rand(2, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(block.eval()(x), x)
    deep, new = resnet.deepen(shallow, 3, kind, 1)
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    assert len(deep.blocks) == 9
    assert len(new) == 6
    torch.testing.assert_close(deep.double()(x), shallow.eval()(x), rtol=1e-5, atol=1e-6)


def test_responses_are_the_deviations_of_what_batch_norms_return(resnet):
    net = resnet.start(2, "A", 3).train()
    x = torch.randn(6, 1, 8, 8)
    found = resnet.layer_responses(net, x)
    assert net.training
    assert all(part.training for part in net.modules())
    net.eval()
    with torch.no_grad():
        h = net.bn(net.stem(x))
        expected = [h]
        h = h.relu()
        for block in net.blocks:
            first = block.bn1(block.conv1(h))
            second = block.bn2(block.conv2(first.relu()))
            expected += [first, second]
            h = block(h)
    np.testing.assert_allclose(found, [np.std(v.numpy()) for v in expected], rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "count"), [(3, 269_722), (5, 464_154), (7, 658_586), (9, 853_018), (18, 1_727_962), (200, 19_421_274)]
)
def test_networks_have_the_papers_sizes(resnet, n, count):
    with torch.device("meta"):
        net = resnet.ResNet(n, "A", width=16, colours=3)
    assert sum(p.numel() for p in net.parameters()) == count
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in net.modules()) == 6 * n + 2


def test_the_stored_weights_score_what_the_text_says(resnet):
    digits, held = data.digits(), data.weights("10")
    X = torch.tensor((digits.X_train.reshape(-1, 1, 8, 8) - 0.5) / 0.5, dtype=torch.float32)
    y, typical, wrong = torch.from_numpy(digits.y_train), {}, {}
    for kind in ("plain", "A"):
        for layers in (8, 20, 44):
            medians = []
            for seed in HELD_SEEDS:
                net, numbers = resnet.ResNet((layers - 2) // 6, kind), torch.tensor(held[f"{kind}-{layers}-{seed}"])
                state = {name: v for name, v in sorted(net.state_dict().items()) if v.is_floating_point()}
                assert list(state) == held[f"names-{layers}"].tolist()
                for value, part in zip(state.values(), numbers.split([v.numel() for v in state.values()]), strict=True):
                    value.copy_(part.view_as(value))
                with torch.no_grad():
                    wrong[kind, layers, seed] = float((net.eval()(X).argmax(dim=1) != y).float().mean())
                medians.append(np.median(resnet.layer_responses(net, X)))
            typical[kind, layers] = np.median(medians)
    assert typical["A", 8] > typical["A", 20] > typical["A", 44]
    assert typical["plain", 20] > typical["A", 20]
    assert max(wrong["A", 44, seed] for seed in HELD_SEEDS) < 0.02
    assert min(wrong["plain", 44, seed] for seed in HELD_SEEDS) > 0.2
