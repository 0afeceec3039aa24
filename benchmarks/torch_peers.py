"""One meta-training step in idiomatic PyTorch, for comparison. Requires torch; prints milliseconds per step.

    python benchmarks/torch_peers.py maml --way=20
    python benchmarks/torch_peers.py protonets --way=20 --query=15 --filters=64

`maml` is the per-task loop of learn2learn and higher: clone, adapt with create_graph=True, backward per
task. Networks, losses and counts are the papers' Omniglot settings.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812


def conv4_weights(channels: int, filters: int, way: int, features: int) -> list[torch.Tensor]:
    """Kernel and bias of four convolutions and of the head."""
    sizes, weights = [channels] + [filters] * 4, []
    for fan_in, fan_out in itertools.pairwise(sizes):
        kernel = torch.empty(fan_out, fan_in, 3, 3)
        torch.nn.init.xavier_uniform_(kernel)
        weights += [kernel.requires_grad_(), torch.zeros(fan_out, requires_grad=True)]
    return [*weights, (0.1 * torch.randn(features, way)).requires_grad_(), torch.zeros(way, requires_grad=True)]


def strided_logits(x: torch.Tensor, weights: list[torch.Tensor], betas: list[torch.Tensor]) -> torch.Tensor:
    """The strided network with batch statistics."""
    for i in range(4):
        x = F.conv2d(x, weights[2 * i], weights[2 * i + 1], stride=2, padding=1)
        x = F.relu(F.batch_norm(x, None, None, None, betas[i], training=True, eps=1e-3))
    return x.mean((2, 3)) @ weights[8] + weights[9]


def pooled_logits(x: torch.Tensor, weights: list[torch.Tensor], betas: list[torch.Tensor]) -> torch.Tensor:
    """The max-pooled network with batch statistics."""
    for i in range(4):
        x = F.conv2d(x, weights[2 * i], weights[2 * i + 1], padding=1)
        x = F.max_pool2d(F.relu(F.batch_norm(x, None, None, None, betas[i], training=True, eps=1e-3)), 2)
    return x.flatten(1) @ weights[8] + weights[9]


def maml_step(
    *, way: int, shot: int = 1, query: int = 5, tasks: int = 8, filters: int = 32, channels: int = 1, size: int = 28
) -> Callable[[], None]:
    """A function that takes one outer step of second-order MAML, five inner steps; from 64x64 on pooled."""
    pooled = size >= 64
    logits = pooled_logits if pooled else strided_logits
    weights = conv4_weights(channels, filters, way, features=filters * (size // 16) ** 2 if pooled else filters)
    betas = [torch.zeros(filters, requires_grad=True) for _ in range(4)]
    optimizer = torch.optim.Adam(weights + betas, 1e-3)
    supports = torch.rand(tasks, way * shot, channels, size, size)
    queries = torch.rand(tasks, way * query, channels, size, size)
    support_labels = torch.arange(way).repeat_interleave(shot)
    query_labels = torch.arange(way).repeat_interleave(query)

    def step() -> None:
        optimizer.zero_grad()
        for s, q in zip(supports, queries, strict=True):
            fast = list(weights)
            for _ in range(5):
                loss = way * F.cross_entropy(logits(s, fast, betas), support_labels)
                gradients = torch.autograd.grad(loss, fast, create_graph=True)
                fast = [w - 0.05 * g for w, g in zip(fast, gradients, strict=True)]
            (F.cross_entropy(logits(q, fast, betas), query_labels) / tasks).backward()
        optimizer.step()

    return step


def protonets_step(
    *, way: int, shot: int = 1, query: int = 15, filters: int = 64, channels: int = 1, size: int = 28
) -> Callable[[], None]:
    """A function that takes one outer step of ProtoNets."""
    blocks: list[torch.nn.Module] = []
    for fan_in in [channels] + [filters] * 3:
        convolution = torch.nn.Conv2d(fan_in, filters, 3, padding=1)
        blocks += [convolution, torch.nn.BatchNorm2d(filters), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    encoder = torch.nn.Sequential(*blocks, torch.nn.Flatten())
    optimizer = torch.optim.Adam(encoder.parameters(), 1e-3)
    images = torch.rand(way * (shot + query), channels, size, size)
    labels = torch.arange(way).repeat_interleave(query)

    def step() -> None:
        optimizer.zero_grad()
        z = encoder(images)
        prototypes = z[: way * shot].view(way, shot, -1).mean(1)
        F.cross_entropy(-((z[way * shot :, None] - prototypes[None]) ** 2).sum(-1), labels).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("learner", choices=["maml", "protonets"])
    counts = {"way": 20, "shot": 1, "query": 5, "tasks": 8, "filters": 32, "channels": 1, "size": 28, "steps": 20}
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = vars(parser.parse_args())
    learner, steps = arguments.pop("learner"), arguments.pop("steps")
    if learner == "protonets":
        arguments.pop("tasks")
    step = maml_step(**arguments) if learner == "maml" else protonets_step(**arguments)
    for _ in range(3):
        step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(f"{learner} way={arguments['way']}: {1000 * statistics.median(times):.1f} ms per step")


if __name__ == "__main__":
    main()
