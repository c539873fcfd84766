"""Mini-ImageNet (Vinyals et al. 2016), with the classes of Ravi and Larochelle (2017) in each split."""

from pathlib import Path
from typing import ClassVar

from harness.workloads.images import FewShotImages
from harness.workloads.imageset import COLOURS, ImageSet
from harness.workloads.mini_imagenet_data import SIZE, load_mini_imagenet
from harness.workloads.models import Down
from harness.workloads.omniglot import required


class MiniImagenet(FewShotImages):
    """100 classes of ImageNet, 600 colour images of 84x84 each: 64 train, 16 validation, 20 test classes."""

    name: ClassVar[str] = "mini-imagenet"
    split_name: ClassVar[str] = "mini-imagenet"
    channels: ClassVar[int] = COLOURS
    size: ClassVar[int] = SIZE

    filters: int = 32  # as Finn et al. 2017, "to reduce overfitting"
    down: Down = "max-pool"

    def load(self, data_root: Path | None) -> ImageSet:
        return load_mini_imagenet(required(self.name, data_root))
