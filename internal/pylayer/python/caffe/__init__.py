"""What Python layers need of pycaffe, for the layers that crema runs.

There are Layer, TRAIN and TEST, caffe.io for pictures, and the functions that
choose a device, without effect. There are no nets, solvers or net
specifications: crema itself trains and runs the net.
"""
from caffe import io
from caffe._caffe import Blob, Layer, layer_type_list, log

__version__ = "1.0.0"

TRAIN, TEST = 0, 1


def set_mode_cpu():
    """Does nothing: crema computes on the CPU."""


def set_mode_gpu():
    """Does nothing: crema computes on the CPU."""


def set_device(device):
    """Does nothing: crema computes on the CPU."""


def set_random_seed(seed):
    """Does nothing: the solver's random_seed is the seed of crema's layers."""


def solver_count():
    """Returns 1: the number of solvers that train this net."""
    return 1


def solver_rank():
    """Returns 0: the number of this solver."""
    return 0


def has_nccl():
    """Returns False: that is for GPUs."""
    return False


class _Absent(object):
    """Something of pycaffe that is not here: files of layers import it, too,
    beside what the layers use."""

    def __init__(self, name):
        self._name = name

    def _fail(self):
        raise AttributeError("crema runs layers with a module caffe of its own, which has no %s: only what layers need" % self._name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        self._fail()

    def __call__(self, *args, **kwargs):
        self._fail()


layers, params, draw, net_spec, NetSpec, to_proto = map(_Absent, [
    "caffe.layers", "caffe.params", "caffe.draw", "caffe.net_spec", "caffe.NetSpec", "caffe.to_proto"])
Net, Classifier, Detector, get_solver, SGDSolver = map(_Absent, [
    "caffe.Net", "caffe.Classifier", "caffe.Detector", "caffe.get_solver", "caffe.SGDSolver"])
