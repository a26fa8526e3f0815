"""Blobs and the base class of layers, as pycaffe's compiled part has them."""
import operator

import numpy as np

MAX_AXES = 32
MAX_COUNT = 2**31 - 1

types = []  # crema's layer types


class Blob(object):
    """Values (data) and gradients (diff), two float32 arrays of one shape.

    The arrays are crema's own memory, not copies: write into them, as in
    top[0].data[...] = x. They are valid until the blob is reshaped.
    """

    __slots__ = ("_host", "role", "index", "_shape", "_count", "_place", "_arrays")

    def __init__(self, host, role, index, shape=()):
        self._host = host
        self.role = role
        self.index = index
        self._place = (-1, 0, -1, 0)
        self._arrays = [None, None]
        self._set_shape(shape)

    def _set_shape(self, shape):
        self._shape = shape
        count = 1
        for d in shape:
            count *= d
        self._count = count
        self._arrays[0] = self._arrays[1] = None

    def set(self, shape, *place):
        """For crema: takes shape and place from it."""
        if shape != self._shape:
            self._set_shape(shape)
        if place != self._place:
            self.set_place(*place)

    def set_place(self, *place):
        """For crema: offset in bytes and room in elements, of data and diff."""
        self._place = place
        self._arrays[0] = self._arrays[1] = None

    def _array(self, diff):
        a = self._arrays[diff]
        if a is None:
            if self._count == 0:
                a = np.empty(self._shape, np.float32)
            else:
                if self._place[2 * diff] < 0 or self._place[2 * diff + 1] < self._count:
                    self._host.place(self, diff)
                a = self._host.array(self._place[2 * diff], self._shape)
            self._arrays[diff] = a
        return a.view()  # so that what is done to its shape stays there

    @property
    def data(self):
        return self._array(0)

    @data.setter
    def data(self, value):
        raise AttributeError("cannot replace a blob's data; write into it: blob.data[...] = x")

    @property
    def diff(self):
        return self._array(1)

    @diff.setter
    def diff(self, value):
        raise AttributeError("cannot replace a blob's diff; write into it: blob.diff[...] = x")

    @property
    def shape(self):
        return self._shape

    @property
    def count(self):
        return self._count

    def _legacy(self, axis):
        if len(self._shape) > 4:
            raise ValueError("num, channels, height and width are for blobs of up to 4 axes, not of shape %s" % (self._shape,))
        return self._shape[axis] if axis < len(self._shape) else 1

    @property
    def num(self):
        return self._legacy(0)

    @property
    def channels(self):
        return self._legacy(1)

    @property
    def height(self):
        return self._legacy(2)

    @property
    def width(self):
        return self._legacy(3)

    def reshape(self, *shape):
        """Changes the shape; values stay as far as there is room for them."""
        dims = []
        for d in shape:
            try:
                dims.append(operator.index(d))
            except TypeError:
                what = "give the dimensions one by one: reshape(*shape)" if isinstance(d, (tuple, list, np.ndarray)) else \
                    "a dimension must be an integer, not %r" % (d,)
                raise TypeError(what + "; '%s' object cannot be interpreted as an integer" % type(d).__name__)
        shape = tuple(dims)
        if shape == self._shape:
            return
        count = 1
        for d in shape:
            if d < 0:
                raise ValueError("a blob of shape %s: a dimension is negative" % (shape,))
            count *= d
        if len(shape) > MAX_AXES or count > MAX_COUNT:
            raise ValueError("a blob of shape %s has more than %d axes or %d elements" % (shape, MAX_AXES, MAX_COUNT))
        self._set_shape(shape)
        if self not in self._host.changed:
            self._host.changed.append(self)

    def __repr__(self):
        return "<caffe.Blob of shape %s>" % (self._shape,)


class RawBlobVec(list):
    """The bottoms or tops of a layer."""

    __slots__ = ()


class BlobVec(list):
    """The parameters of a layer."""

    def __init__(self, host):
        list.__init__(self)
        self._host = host

    def add_blob(self, *shape):
        """Adds a parameter, all zero: for setup."""
        if not self._host.setting_up:
            raise RuntimeError("add_blob works in setup only: the net's parameters are settled then")
        blob = Blob(self._host, 2, len(self))
        blob.reshape(*shape)
        self._host.add(blob)
        self.append(blob)


class Layer(object):
    """The base class of layers: define setup, reshape, forward and backward.

    Before setup, crema sets param_str, phase (TRAIN or TEST) and blobs, the
    parameters.
    """

    type = "Python"

    def __init__(self, *args, **kwargs):
        pass

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        raise NotImplementedError("the class has no method forward(self, bottom, top)")

    def backward(self, top, propagate_down, bottom):
        raise NotImplementedError("the class has no method backward(self, top, propagate_down, bottom)")


def layer_type_list():
    """Returns the names of the layer types that crema knows."""
    return list(types)


def log(text):
    """Writes a line to crema's log."""
    print(text)
