"""A layer in the manner of Caffe's time."""
import caffe
import numpy as np

try:
    import yaml
except ImportError:
    yaml = None


class Old(caffe.Layer):
    def setup(self, bottom, top):
        assert np.array([1.5], dtype=np.float).dtype == np.float64
        assert np.zeros(2, np.int).sum() == 0 and np.bool(1)
        if yaml is None:
            print("no yaml")
        else:
            assert yaml.load("{a: [1, x]}") == {"a": [1, "x"]}
            assert yaml.load("b: 2", Loader=yaml.SafeLoader) == {"b": 2}
            print("yaml.load works")
