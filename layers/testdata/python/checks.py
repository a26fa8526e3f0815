"""Layers that check what they are given, or fail, for python_test.go."""
import caffe
import numpy as np

import helper  # beside this file


class Calls(caffe.Layer):
    """Its top counts the calls of setup, reshape, forward and backward."""

    def setup(self, bottom, top):
        self.calls = np.zeros(4, np.float32)
        self.calls[0] += 1

    def reshape(self, bottom, top):
        self.calls[1] += 1
        top[0].reshape(4)

    def forward(self, bottom, top):
        self.calls[2] += 1
        top[0].data[...] = self.calls

    def backward(self, top, propagate_down, bottom):
        self.calls[3] += 1


class Blobs(caffe.Layer):
    """Checks all that blobs and layers have; bottoms are 2x3x4x5, 7 and 1x2x3x4x5."""

    def __init__(self, *args, **kwargs):
        super(Blobs, self).__init__(*args, **kwargs)
        assert args[0].name == "l"

    def setup(self, bottom, top):
        assert self.param_str == self.param_str_ == "a 'param' \u00e4\n"
        assert self.phase == caffe.TEST and caffe.TRAIN == 0
        assert self.type == "Python"
        assert len(self.blobs) == 0
        assert helper.found == "beside"
        a, b, c = bottom
        assert a.shape == (2, 3, 4, 5) and a.count == 120
        assert (a.num, a.channels, a.height, a.width) == (2, 3, 4, 5)
        assert b.shape == (7,) and (b.num, b.channels, b.height, b.width) == (7, 1, 1, 1)
        raises(ValueError, lambda: c.num)
        for x in a.data, a.diff:
            assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32
            assert x.flags.c_contiguous and x.flags.writeable and not x.flags.owndata
            x.shape = (120,)
        assert a.data.shape == (2, 3, 4, 5)
        assert a.data[1, 2, 3, 4] == 119
        a.data[0, 0, 0, 0] = 5
        assert bottom[0].data.ravel()[0] == 5
        raises(AttributeError, lambda: setattr(a, "data", 0), "blob.data[...]")
        raises(AttributeError, lambda: setattr(a, "diff", 0), "blob.diff[...]")

        t = top[0]
        t.reshape(2, 2)
        t.data[...] = [[1, 2], [3, 4]]
        t.reshape(np.int64(4))
        assert t.shape == (4,) and list(t.data) == [1, 2, 3, 4]
        raises(ValueError, lambda: t.reshape(2, -1), "negative")
        raises(ValueError, lambda: t.reshape(1 << 16, 1 << 15), "elements")
        raises(ValueError, lambda: t.reshape(*[1] * 33), "axes")
        raises(TypeError, lambda: t.reshape(2.0), "an integer")
        raises(TypeError, lambda: t.reshape((2, 3)), "one by one")
        assert t.shape == (4,)
        t.reshape()
        assert t.shape == () and t.count == 1 and t.data.shape == ()
        t.reshape(0, 3)
        assert t.count == 0 and t.data.shape == (0, 3)
        t.reshape(100000)
        assert t.data.sum() == 0
        t.data[...] = 7

        self.blobs.add_blob()
        self.blobs[0].reshape(2, 3)
        self.blobs[0].data[...] = 1
        self.blobs.add_blob(5)
        assert self.blobs[1].data.sum() == 0 and len(self.blobs) == 2

        from caffe._caffe import RawBlobVec, layer_type_list
        assert isinstance(bottom, RawBlobVec) and "Convolution" in layer_type_list()
        caffe.set_mode_gpu(), caffe.set_device(3), caffe.set_mode_cpu()
        from caffe import layers as L
        raises(AttributeError, lambda: L.Convolution, "no caffe.layers")
        raises(AttributeError, lambda: caffe.Net("a", 1), "no caffe.Net")

    def reshape(self, bottom, top):
        raises(RuntimeError, lambda: self.blobs.add_blob(1), "setup only")
        top[0].reshape(2)

    def forward(self, bottom, top):
        assert bottom[0].data[0, 0, 0, 0] == 5
        top[0].data[...] = self.blobs[0].data.sum(), top[0].diff.sum()


def raises(kind, f, words=""):
    try:
        f()
    except kind as e:
        assert words in str(e), e
    else:
        raise AssertionError("no " + kind.__name__)


class Down(caffe.Layer):
    """Its backward writes propagate_down into the gradients."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        assert all(type(d) is bool for d in propagate_down)
        for d, b in zip(propagate_down, bottom):
            b.diff[...] = 10 + d


class Fails(caffe.Layer):
    """Raises an exception in the method that param_str names."""

    def fail(self, method):
        if self.param_str == method:
            raise KeyError("in " + method)

    def setup(self, bottom, top):
        self.fail("setup")

    def reshape(self, bottom, top):
        self.fail("reshape")
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.fail("forward")

    def backward(self, top, propagate_down, bottom):
        self.fail("backward")


class Runs(caffe.Layer):
    """Runs param_str in forward, in a few calls."""

    def setup(self, bottom, top):
        self.blobs.add_blob(2)

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top, calls=8):
        if calls:
            return self.forward(bottom, top, calls - 1)
        exec(self.param_str, dict(globals(), self=self, bottom=bottom, top=top))


class Bare(caffe.Layer):
    pass


class InInit(caffe.Layer):
    def __init__(self, param):
        raise ValueError("not made")


class NoLayer(object):
    pass


function = len


class Pid(caffe.Layer):
    """Prints the number of its process."""

    def setup(self, bottom, top):
        import os
        print("this is process", os.getpid())

    def reshape(self, bottom, top):
        top[0].reshape(1)
