"""Layers as users write them: a loss, data, and one that learns."""
import json

import caffe
import numpy as np


class EuclideanLoss(caffe.Layer):
    """Half the mean squared distance of two blobs, as the type EuclideanLoss."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("takes two bottoms, not %d" % len(bottom))

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise ValueError("bottoms of %d and %d values" % (bottom[0].count, bottom[1].count))
        self.distance = np.empty(bottom[0].shape, np.float32)
        top[0].reshape()

    def forward(self, bottom, top):
        np.subtract(bottom[0].data, bottom[1].data.reshape(self.distance.shape), self.distance)
        top[0].data[...] = np.sum(self.distance ** 2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                gradient = sign * top[0].diff * self.distance / bottom[0].num
                bottom[i].diff[...] = gradient.reshape(bottom[i].shape)


class RandomLine(caffe.Layer):
    """Batches of random points x and what a linear function of them is, y.

    param_str is JSON: {"batch": 8, "weights": [1, 2], "bias": 0.5}.
    """

    def setup(self, bottom, top):
        assert not bottom and len(top) == 2
        p = json.loads(self.param_str)
        self.batch = p["batch"]
        self.weights = np.array(p["weights"], np.float32)
        self.bias = p["bias"]

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, len(self.weights))
        top[1].reshape(self.batch, 1)

    def forward(self, bottom, top):
        x = np.random.uniform(-1, 1, top[0].shape)
        top[0].data[...] = x
        top[1].data[:, 0] = x.dot(self.weights) + self.bias

    def backward(self, top, propagate_down, bottom):
        pass


class Linear(caffe.Layer):
    """y = x W' + b with as many outputs as param_str says, as InnerProduct."""

    def setup(self, bottom, top):
        if len(self.blobs) > 0:
            return  # as the net's definition has them
        n, k = int(self.param_str), int(np.prod(bottom[0].shape[1:]))
        self.blobs.add_blob(n, k)
        self.blobs.add_blob(n)
        self.blobs[0].data[...] = np.random.normal(0, 0.1, (n, k))

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].num, self.blobs[0].shape[0])

    def forward(self, bottom, top):
        x = bottom[0].data.reshape(bottom[0].num, -1)
        top[0].data[...] = x.dot(self.blobs[0].data.T) + self.blobs[1].data

    def backward(self, top, propagate_down, bottom):
        x = bottom[0].data.reshape(bottom[0].num, -1)
        self.blobs[0].diff[...] += top[0].diff.T.dot(x)
        self.blobs[1].diff[...] += top[0].diff.sum(axis=0)
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.dot(self.blobs[0].data).reshape(bottom[0].shape)


class Double(caffe.Layer):
    """y = 2 x, also in place."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


class Positive(caffe.Layer):
    """The values above 0: a top whose size only forward knows."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        found = bottom[0].data[bottom[0].data > 0]
        top[0].reshape(len(found))
        top[0].data[...] = found

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 0
        bottom[0].diff[bottom[0].data > 0] = top[0].diff


class Sigmoid(caffe.Layer):
    """1 / (1 + exp(-x))."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 1 / (1 + np.exp(-bottom[0].data))

    def backward(self, top, propagate_down, bottom):
        y = top[0].data
        bottom[0].diff[...] = top[0].diff * y * (1 - y)
