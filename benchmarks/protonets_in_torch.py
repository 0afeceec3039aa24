"""Trains ProtoNets in PyTorch on the tasks of one of our runs, and evaluates both on the same test tasks.

    python benchmarks/protonets_in_torch.py tasks RUN TASKS.npz       # needs cactus-tf: the tasks of a finished run
    python benchmarks/protonets_in_torch.py train TASKS.npz [--seed=0] [--out=RESULTS.json]       # needs torch alone

Network, initialization, loss, optimizer and batch norm are those of the original code (Hsu et al. 2019): four blocks of
3x3 convolution, batch norm, ReLU and max-pooling; Adam; one task per step; running averages outside training.
`--gamma=uniform` initializes the gamma of batch norm in 0..1, as PyTorch 0.4 did; the default is 1, as PyTorch has it.

Images, learning rate, the task of every step and the test tasks are the run's. Only the initial weights and the
arithmetic differ. Prints accuracies in % and their mean difference over the same test tasks, with 95% intervals.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def write_tasks(run: Path, file: Path) -> None:
    """Stores the images, the training tasks and the test tasks of a run, and what it answered correctly."""
    from run_parts import parts_of

    plan, learner, data, partitions = parts_of(run)
    assert learner.training is not None
    own = learner.training
    usual = {"tasks_per_step": 1, "select": "last", "augmentation": "none", "rotate_classes": False}
    usual |= {"outer_schedule": "constant", "outer_warmup": 0, "backbone": "conv4", "norm": "running"}
    others = [f"--{name}={getattr(own, name)}" for name, value in usual.items() if getattr(own, name) != value]
    if others or (learner.options is not None and learner.options != type(learner.options)()):
        raise SystemExit(f"{run} has other settings than the original ({', '.join(others) or 'of protonets'})")
    training = learner.training_tasks(data.train.images, partitions)
    arrays = {
        "images": data.train.images,
        "tasks": np.stack([training.indices(i)[0] for i in range(learner.training.steps)]).astype(np.int32),
        "shot": training.shot,
        "outer_lr": learner.training.outer_lr,
        "filters": learner.training.filters,
    }
    test = data[plan.evaluation.split]
    assert test.partitions is not None
    arrays["test_images"] = test.images
    for way, shot in learner.tasks:
        episodes = plan.evaluation.tasks(test.images, test.partitions, way, shot)
        numbers = [episodes.indices(i)[0] for i in range(plan.evaluation.episodes)]
        arrays[f"test_{way}_{shot}"] = np.stack(numbers).astype(np.int32)
        accuracies = f"accuracy-{plan.evaluation.split}-{way}way-{shot}shot.npy"
        arrays[f"ours_{way}_{shot}"] = np.load(run / "protonets" / accuracies)
    np.savez(file, **arrays)


HEAD = ["seed", "task", "PyTorch", "cactus_tf", "difference on the same tasks"]


def train(file: Path, seed: int, gamma: str, out: Path | None) -> None:
    """Trains, evaluates, prints a line per kind of task, and stores the lines."""
    import torch

    torch.manual_seed(seed)
    with np.load(file) as stored:
        arrays = dict(stored)
    encoder = _encoder(arrays["images"].shape[-1], int(arrays["filters"]), gamma)
    _train(encoder, arrays)
    lines = [[str(seed), *_compare(encoder, arrays, name)] for name in arrays if name.startswith("ours_")]
    if out:
        about = {
            "steps": len(arrays["tasks"]),
            "gamma": gamma,
            "torch": torch.__version__,
            "head": HEAD,
            "lines": lines,
        }
        out.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _encoder(channels: int, filters: int, gamma: str) -> Any:
    from torch import nn

    blocks: list[nn.Module] = []
    for fan_in in [channels] + [filters] * 3:
        convolution, norm = nn.Conv2d(fan_in, filters, 3, padding=1), nn.BatchNorm2d(filters)
        limit = (9 * fan_in) ** -0.5
        for weights in (convolution.weight, convolution.bias):
            nn.init.uniform_(weights, -limit, limit)
        if gamma == "uniform":
            nn.init.uniform_(norm.weight)
        blocks += [convolution, norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten())


def _logits(features: Any, way: int, shot: int) -> Any:
    """Minus the squared distances [way x query, way] of one task's features [way, shot + query, dim]."""
    query = features[:, shot:].reshape(-1, 1, features.shape[-1])
    return -((query - features[:, :shot].mean(1)) ** 2).sum(-1)


def _features(encoder: Any, images: np.ndarray, numbers: np.ndarray) -> Any:
    import torch

    rows = torch.from_numpy(images[numbers.ravel()]).permute(0, 3, 1, 2).float() / 255
    return encoder(rows).reshape(*numbers.shape, -1)


def _train(encoder: Any, arrays: dict[str, np.ndarray]) -> None:
    import torch

    optimizer = torch.optim.Adam(encoder.parameters(), float(arrays["outer_lr"]))
    tasks, shot, last_message = arrays["tasks"], int(arrays["shot"]), time.monotonic()
    _, way, images = tasks.shape
    labels = torch.arange(way).repeat_interleave(images - shot)
    encoder.train()
    for step, numbers in enumerate(tasks):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            _logits(_features(encoder, arrays["images"], numbers), way, shot), labels
        )
        loss.backward()
        optimizer.step()
        if time.monotonic() - last_message > 30:
            last_message = time.monotonic()
            print(f"step {step + 1:,} of {len(tasks):,}, loss {loss.item():.3f}", flush=True)
    encoder.eval()


def _compare(encoder: Any, arrays: dict[str, np.ndarray], name: str) -> list[str]:
    """The accuracies of one kind of task in %, printed."""
    import torch

    way, shot = map(int, name.split("_")[1:])
    episodes, ours = arrays[f"test_{way}_{shot}"], arrays[name]
    labels = torch.arange(way).repeat_interleave(episodes.shape[2] - shot)
    theirs = np.empty(len(episodes))
    with torch.inference_mode():
        for i, numbers in enumerate(episodes):
            logits = _logits(_features(encoder, arrays["test_images"], numbers), way, shot)
            theirs[i] = (logits.argmax(-1) == labels).double().mean()
    line = [f"{way}-way {shot}-shot", _percent(theirs), _percent(ours), _percent(ours - theirs, "+")]
    print(", ".join(line), flush=True)
    return line


def _percent(values: np.ndarray, sign: str = "") -> str:
    """Mean and half width of the 95% interval."""
    return f"{100 * values.mean():{sign}.2f} ± {196 * values.std() / len(values) ** 0.5:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    tasks = commands.add_parser("tasks", help="store the tasks of a run")
    tasks.add_argument("run", type=Path)
    tasks.add_argument("file", type=Path)
    training = commands.add_parser("train", help="train on them in PyTorch")
    training.add_argument("file", type=Path)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--gamma", choices=["ones", "uniform"], default="ones")
    training.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.command == "tasks":
        write_tasks(args.run, args.file)
    else:
        train(args.file, args.seed, args.gamma, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
