"""The fashion_mnist task: 28 x 28 grey pictures of clothes, official IDX files."""

from __future__ import annotations

from snnexp.data.idx_task import IdxSet, IdxTask, remotes
from tasks.mnist import sample as digits

FASHION_MNIST = IdxSet(
    title="Fashion-MNIST",
    folders=("FashionMNIST/raw", "FashionMNIST", "fashion-mnist", "raw"),
    labels="657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    files=remotes(
        "Fashion-MNIST",
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    how_to_get=(
        "On Debian and Ubuntu the package dataset-fashion-mnist has it: apt-get download "
        "dataset-fashion-mnist, dpkg -x the file to a folder, and give data=real "
        "data_dir=<folder>/usr/share/datasets/fashion-mnist. Elsewhere fetch the four *-ubyte.gz "
        "files of Fashion-MNIST (MIT licence), e.g. from "
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/, and put them into "
        "<data_dir>/FashionMNIST/raw"
    ),
)


class FashionMNISTTask(IdxTask):
    """Fashion-MNIST, ten kinds of clothes. Source: Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747.

    It has no sample of its own: data=sample gives the digits of mnist under these class names.
    """

    task_name = "fashion_mnist"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    mean, std = (0.2860,), (0.3530,)
    published = FASHION_MNIST
    sample_module = digits
    sample_source = (
        "no clothes: scikit-learn's handwritten digits 0-9 stand for the ten classes, "
        "because Fashion-MNIST has no sample of its own"
    )
