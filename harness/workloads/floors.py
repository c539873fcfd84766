"""Classifiers that learn nothing, from the support set alone: what meta-learning must clear."""

import torch
from torch import Tensor

from harness.workloads.base import Tasks

CHUNK = 100  # tasks compared at once


def neighbour_accuracy(tasks: Tasks, seed: int, count: int) -> Tensor:
    """Accuracy [count] of the class of the nearest support image, by Euclidean distance of pixels."""
    scores = []
    for start in range(0, count, CHUNK):
        batch = tasks.sample("test", seed, start, min(CHUNK, count - start))
        distances = torch.cdist(batch.query.inputs.flatten(2), batch.support.inputs.flatten(2))
        nearest = batch.support.targets.gather(1, distances.argmin(-1))
        scores.append((nearest == batch.query.targets).double().mean(1))
    return torch.cat(scores)
