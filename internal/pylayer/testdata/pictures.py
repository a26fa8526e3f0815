"""Checks of caffe.io."""
import caffe
import numpy as np
from caffe.io import Transformer, load_image, oversample, resize_image


class Pictures(caffe.Layer):
    def setup(self, bottom, top):
        self.resize()
        self.transform()
        self.crops()
        self.load(self.param_str)

    def resize(self):
        im = np.random.rand(5, 7, 3).astype(np.float32)
        assert np.array_equal(resize_image(im, (5, 7)), im)
        # Twice as wide and high: every new pixel is a quarter of the way to a
        # neighbour, at the edges it is the old one.
        row = resize_image(np.array([[[0.0], [8.0]]]), (2, 4))
        assert row.dtype == np.float32 and row.tolist() == [[[0], [2], [6], [8]]] * 2, row
        assert resize_image(im, (1, 1)).tolist() == im[2:3, 3:4].tolist()
        nearest = resize_image(np.arange(4.0).reshape(1, 4, 1), (1, 2), interp_order=0)
        assert nearest.ravel().tolist() == [1, 3], nearest
        raises(ValueError, lambda: resize_image(im, (1, 1), interp_order=3))

    def transform(self):
        t = Transformer({"data": (1, 3, 2, 4)})
        t.set_transpose("data", (2, 0, 1))
        t.set_channel_swap("data", (2, 1, 0))
        t.set_raw_scale("data", 255)
        t.set_mean("data", np.array([1.0, 2.0, 3.0]))
        t.set_input_scale("data", 0.5)
        im = np.random.rand(2, 4, 3)
        out = t.preprocess("data", im)
        assert out.shape == (3, 2, 4) and out.dtype == np.float32
        for c in range(3):
            want = (im[:, :, 2 - c] * 255 - (c + 1)) / 2
            assert np.allclose(out[c], want, atol=1e-4)
        assert np.allclose(t.deprocess("data", out), im, atol=1e-5)
        assert t.preprocess("data", np.ones((4, 8, 3))).shape == (3, 2, 4)
        t.set_mean("data", np.ones((3, 2, 4)))
        assert np.allclose(t.preprocess("data", im), out + (np.arange(3) / 2)[:, None, None], atol=1e-4)
        raises(ValueError, lambda: t.set_mean("data", np.ones(2)))
        raises(ValueError, lambda: t.set_mean("data", np.ones((3, 2, 5))))
        raises(Exception, lambda: t.set_transpose("data", (0, 1)))
        raises(Exception, lambda: t.set_channel_swap("data", (0, 1)))
        raises(Exception, lambda: t.set_raw_scale("dat", 1))

    def crops(self):
        im = np.arange(20.0).reshape(4, 5, 1)
        ten = oversample([im], (2, 3))
        assert ten.shape == (10, 2, 3, 1) and ten.dtype == np.float32
        assert [int(c[0, 0, 0]) for c in ten[:5]] == [0, 2, 10, 12, 6]
        assert np.array_equal(ten[5:], ten[:5, :, ::-1])
        raises(ValueError, lambda: oversample([im], (5, 3)))

    def load(self, path):
        try:
            from PIL import Image
        except ImportError:
            print("no pillow")
            return
        pixels = np.random.randint(0, 256, (3, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        im = load_image(path)
        assert im.shape == (3, 4, 3) and im.dtype == np.float32 and np.allclose(im * 255, pixels, atol=1e-3)
        grey = load_image(path, color=False)
        assert grey.shape == (3, 4, 1) and np.allclose(grey[..., 0], im.dot([0.2125, 0.7154, 0.0721]), atol=1e-5)
        Image.fromarray(pixels[:, :, 0]).save(path)
        assert load_image(path, color=False).shape == (3, 4, 1)
        assert np.array_equal(load_image(path), np.tile(load_image(path, False), 3))
        print("load_image works")


def raises(kind, f):
    try:
        f()
    except kind:
        return
    raise AssertionError("no " + kind.__name__)
