"""The mnist task: 28 x 28 grey digits, official IDX files."""

from __future__ import annotations

from snnexp.data.idx_task import IdxSet, IdxTask, remotes
from tasks.mnist import sample

MNIST = IdxSet(
    title="MNIST",
    folders=("MNIST/raw", "MNIST", "mnist", "raw"),
    labels="1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    files=remotes(
        "MNIST",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    how_to_get=(
        "Fetch train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz "
        "and t10k-labels-idx1-ubyte.gz of MNIST (CC BY-SA 3.0), e.g. from "
        "https://ossci-datasets.s3.amazonaws.com/mnist/, put them, gzipped or not, into "
        "<data_dir>/MNIST/raw, and give data=real data_dir=<data_dir>"
    ),
)


class MNISTTask(IdxTask):
    """MNIST, ten digits. Source: LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86(11)."""

    task_name = "mnist"
    classes = tuple(str(k) for k in range(10))
    mean, std = (0.1307,), (0.3081,)
    published = MNIST
    sample_module = sample
    sample_source = "scikit-learn's handwritten digits, enlarged to 28 x 28"
