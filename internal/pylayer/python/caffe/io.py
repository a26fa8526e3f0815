"""Pictures for data layers, as pycaffe's caffe.io has them.

A picture is an array of height x width x channels; load_image gives RGB from 0
to 1 in float32.
"""
import numpy as np


def load_image(filename, color=True):
    """Reads a picture file: 3 channels, or 1 if not color."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("caffe.io.load_image needs the package pillow")
    picture = Image.open(filename)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    img = np.asarray(picture, dtype=np.float32) / 255
    if img.ndim == 2:
        img = img[:, :, np.newaxis]
        return np.tile(img, (1, 1, 3)) if color else img
    if color:
        return img
    weights = np.array([0.2125, 0.7154, 0.0721], np.float32)
    return np.dot(img, weights)[:, :, np.newaxis]


def resize_image(im, new_dims, interp_order=1):
    """Returns a picture of new_dims (height, width), in float32: by the nearest
    pixel (interp_order 0) or bilinear between the centres of pixels (1)."""
    if interp_order not in (0, 1):
        raise ValueError("interp_order must be 0 or 1, not %r" % (interp_order,))
    im = np.asarray(im, dtype=np.float32)
    for axis in (0, 1):
        old, new = im.shape[axis], int(new_dims[axis])
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        if interp_order == 0:
            im = np.take(im, np.floor(at + 0.5).astype(int), axis)
            continue
        low = np.floor(at).astype(int)
        part = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(im.ndim)])
        im = np.take(im, low, axis) * (1 - part) + np.take(im, np.minimum(low + 1, old - 1), axis) * part
    return im


def oversample(images, crop_dims):
    """Returns ten crops of each picture: the four corners and the centre, then
    the same mirrored."""
    images = [np.asarray(im) for im in images]
    h, w = (int(d) for d in crop_dims)
    crops = []
    for im in images:
        rows, columns = im.shape[0] - h, im.shape[1] - w
        if rows < 0 or columns < 0:
            raise ValueError("a picture of %d x %d is smaller than the crop of %d x %d" % (im.shape[0], im.shape[1], h, w))
        corners = [(0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)]
        five = [im[y:y + h, x:x + w] for y, x in corners]
        crops += five + [c[:, ::-1] for c in five]
    return np.array(crops, dtype=np.float32)


class Transformer(object):
    """Brings pictures into the form that a net's inputs have.

    inputs maps the name of each input to the shape of its blob. preprocess
    resizes, transposes, swaps channels, scales by raw_scale, subtracts the
    mean and scales by input_scale, in this order.
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _known(self, in_):
        if in_ not in self.inputs:
            raise Exception("%s is not one of the inputs: %s" % (in_, ", ".join(self.inputs)))

    def preprocess(self, in_, data):
        self._known(in_)
        out = np.asarray(data).astype(np.float32)
        size = tuple(self.inputs[in_][2:])
        if out.shape[:2] != size:
            out = resize_image(out, size)
        if in_ in self.transpose:
            out = out.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            out = out[list(self.channel_swap[in_]), :, :]
        out = out * np.float32(self.raw_scale.get(in_, 1))
        if in_ in self.mean:
            out = out - self.mean[in_]
        return (out * np.float32(self.input_scale.get(in_, 1))).astype(np.float32)

    def deprocess(self, in_, data):
        """Undoes preprocess, the resizing aside."""
        self._known(in_)
        out = np.asarray(data).astype(np.float32).squeeze()
        out = out / np.float32(self.input_scale.get(in_, 1))
        if in_ in self.mean:
            out = out + self.mean[in_]
        out = out / np.float32(self.raw_scale.get(in_, 1))
        if in_ in self.channel_swap:
            out = out[list(np.argsort(self.channel_swap[in_])), :, :]
        if in_ in self.transpose:
            out = out.transpose(np.argsort(self.transpose[in_]))
        return out

    def set_transpose(self, in_, order):
        """Sets the order of the axes, (2, 0, 1) for height x width x channels."""
        self._known(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("the order must have one number for each axis of a picture")
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order):
        """Sets the order of the channels, (2, 1, 0) for RGB to BGR."""
        self._known(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception("the order must have one number for each of the input's channels")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_, scale):
        """Sets the factor before the mean is subtracted: 255 for a net that
        takes 0 to 255."""
        self._known(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """Sets the mean: a value for each channel or a picture of the input's
        shape."""
        self._known(in_)
        mean = np.asarray(mean)
        shape = tuple(self.inputs[in_][1:])
        if mean.ndim == 1:
            if mean.shape[0] != shape[0]:
                raise ValueError("the mean has %d values, the input %d channels" % (mean.shape[0], shape[0]))
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            if mean.ndim == 2:
                mean = mean[np.newaxis, :, :]
            if mean.shape != shape:
                raise ValueError("the mean has shape %s, the input %s" % (mean.shape, shape))
        self.mean[in_] = mean.astype(np.float32)

    def set_input_scale(self, in_, scale):
        """Sets the factor after the mean is subtracted."""
        self._known(in_)
        self.input_scale[in_] = scale
