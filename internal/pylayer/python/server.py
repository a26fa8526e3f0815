"""Runs the Python layers of one net for crema, which started this process.

crema sends requests through one pipe and waits for the reply in another; the
values of blobs lie in a file that both map. Requests and replies are frames:
the length as four bytes, the kind as one, and the body, little-endian. While
a layer's method runs, it may in turn ask crema for room for a blob's values
(PLACE) or for a new parameter (ADD), which crema answers at once. The other
side is Go: protocol.go has the same tables.
"""
import faulthandler
import importlib
import io
import json
import linecache
import mmap
import os
import signal
import struct
import sys
import time
import traceback
import types

# File descriptors that crema passes on.
REQUESTS, REPLIES, MEMORY, LIFE = 3, 4, 5, 6

# Requests.
INIT, LOAD, SETUP, RESHAPE, FORWARD, BACKWARD = range(1, 7)
# Replies.
DONE, FAILED, PLACE, ADD = range(1, 5)
# What a blob is to its layer.
BOTTOM, TOP, PARAM = range(3)

FRAME = struct.Struct("<IB")
CALL = struct.Struct("<IBHHH")  # layer, reshape first, bottoms, tops, parameters
PLACED = struct.Struct("<qqqqH")  # offset and room of data, of diff, axes
ASKED = struct.Struct("<BHBH")  # role, index, diff, axes
COUNT = struct.Struct("<H")

OURS = "<crema>/"  # the names of crema's own files begin so
IMPORTS = os.path.dirname(importlib.__file__)


class Ended(Exception):
    """crema has closed the pipe."""


class Pipes(object):
    """The two pipes to crema."""

    def __init__(self):
        self._rest = b""

    def receive(self):
        """Returns kind and body of the next frame."""
        data = self._rest
        need = FRAME.size
        while len(data) < need or len(data) < self._size(data):
            part = os.read(REQUESTS, 1 << 16)
            if not part:
                raise Ended()
            data = data + part if data else part
        size = self._size(data)
        self._rest = data[size:]
        return data[4], data[FRAME.size:size]

    @staticmethod
    def _size(data):
        return FRAME.size + FRAME.unpack_from(data)[0]

    @staticmethod
    def send(kind, body=b""):
        data = FRAME.pack(len(body), kind) + body
        while data:
            data = data[os.write(REPLIES, data):]


class Host(object):
    """What the blobs in module caffe need of this process."""

    def __init__(self, pipes):
        self._pipes = pipes
        self._map = None
        self.changed = []  # blobs that the running method has reshaped
        self.setting_up = False

    def array(self, offset, shape):
        """Returns the array of shape that begins at offset, in bytes."""
        end = offset + 4 * int(np.prod(shape, dtype=np.int64))
        if self._map is None or end > len(self._map):
            # Arrays keep the older, shorter map alive; the memory is the same.
            self._map = mmap.mmap(MEMORY, os.fstat(MEMORY).st_size)
        return np.ndarray(shape, np.float32, self._map, offset)

    def place(self, blob, diff):
        """Asks where the values of a blob lie, or its gradients."""
        self._ask(PLACE, blob, diff)

    def add(self, blob):
        """Tells of a new parameter."""
        self._ask(ADD, blob, False)

    def _ask(self, kind, blob, diff):
        shape = blob.shape
        self._pipes.send(kind, ASKED.pack(blob.role, blob.index, diff, len(shape)) + dims(shape))
        kind, body = self._pipes.receive()
        if kind == FAILED:
            raise MemoryError(body.decode("utf-8"))
        blob.set_place(*PLACED.unpack_from(body)[:4])


def dims(shape):
    return struct.pack("<%dq" % len(shape), *shape)


class Remote(object):
    """A layer, with the blobs it sees."""

    def __init__(self, layer, spec):
        self.layer = layer
        self.bottom = caffe._caffe.RawBlobVec(
            caffe._caffe.Blob(host, BOTTOM, i) for i in range(spec["bottoms"]))
        self.top = caffe._caffe.RawBlobVec()
        for i in range(spec["tops"]):
            same = spec["in_place"].get(str(i))
            self.top.append(caffe._caffe.Blob(host, TOP, i) if same is None else self.bottom[same])
        self.params = caffe._caffe.BlobVec(host)
        self.method = ""  # that runs
        self._seen = None  # the last description of the blobs, if it still holds

    def update(self, body, at, counts):
        """Takes in what a request says of the blobs."""
        described = body[at:]
        if self._seen == described:
            return
        params = self.params
        while len(params) < counts[2]:
            params.append(caffe._caffe.Blob(host, PARAM, len(params)))
        for blobs in (self.bottom, self.top, params):
            for blob in blobs:
                data, data_room, diff, diff_room, axes = PLACED.unpack_from(body, at)
                at += PLACED.size
                blob.set(struct.unpack_from("<%dq" % axes, body, at), data, data_room, diff, diff_room)
                at += 8 * axes
        self._seen = described

    def run(self, kind, reshape, down):
        if kind == SETUP:
            self.method = "setup"
            host.setting_up = True
            try:
                self.layer.setup(self.bottom, self.top)
            finally:
                host.setting_up = False
        elif kind == BACKWARD:
            self.method = "backward"
            self.layer.backward(self.top, down, self.bottom)
        else:
            if reshape:
                self.method = "reshape"
                self.layer.reshape(self.bottom, self.top)
            if kind == FORWARD:
                self.method = "forward"
                self.layer.forward(self.bottom, self.top)

    def changes(self):
        """Returns what the method has reshaped, for the reply."""
        if not host.changed:
            return COUNT.pack(0)
        self._seen = None
        body = COUNT.pack(len(host.changed))
        for blob in host.changed:
            body += ASKED.pack(blob.role, blob.index, False, len(blob.shape)) + dims(blob.shape)
        host.changed = []
        return body


def import_files(files):
    """Makes modules of the files of crema's package caffe."""
    order = ["caffe/_caffe.py", "caffe/io.py", "caffe/__init__.py"]
    modules = {}
    for path in order:
        name = path[:-len(".py")].replace("/", ".").replace(".__init__", "")
        module = types.ModuleType(name)
        module.__file__ = OURS + path
        module.__package__ = "caffe"
        modules[path] = module
        sys.modules[name] = module
    package = modules["caffe/__init__.py"]
    package.__path__ = []
    for path in order:
        module = modules[path]
        text = files[path]
        linecache.cache[module.__file__] = (len(text), None, text.splitlines(True), module.__file__)
        if path != "caffe/__init__.py":
            setattr(package, module.__name__.partition(".")[2], module)
        exec(compile(text, module.__file__, "exec"), module.__dict__)
    return package


def watch(grace):
    """Starts the process that ends this one, with all that it started, should
    crema die while a layer hangs."""
    me = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.closerange(0, LIFE)
        while os.read(LIFE, 1):
            pass
        # An idle process ends by itself, and its exit handlers shall run.
        end = time.time() + grace
        while os.getppid() == me and time.time() < end:
            time.sleep(0.05)
        os.killpg(os.getpgrp(), signal.SIGKILL)
    finally:
        os._exit(0)


def stop_watching(me, watcher):
    if os.getpid() == me:  # not one that a layer has forked
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)  # once it is left over, nobody may


def search_path(dirs):
    """Looks for modules in PYTHONPATH first, then in dirs, then where Python
    does."""
    listed = os.environ.get("PYTHONPATH")
    listed = listed.split(os.pathsep) if listed else []
    first = []
    for d in listed + dirs:
        if d not in first:
            first.append(d)
    sys.path[:] = first + [d for d in sys.path if d not in first and d != ""]
    return first


# Names that numpy 1.24 and 2 have no more, but layers of Caffe's time use.
OLD_NUMPY = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str, "long": int,
             "unicode": str, "Inf": float("inf"), "NaN": float("nan")}


def restore_numpy():
    for name, value in list(OLD_NUMPY.items()) + [("float_", np.float64)]:
        if name not in np.__dict__:
            setattr(np, name, value)


def restore_yaml():
    """Lets yaml.load do without the argument that PyYAML 6 wants."""
    yaml = sys.modules.get("yaml")
    if yaml is None or not hasattr(yaml, "load") or hasattr(yaml.load, "without_loader"):
        return
    strict = yaml.load

    def load(stream, Loader=yaml.SafeLoader):
        return strict(stream, Loader)
    load.without_loader = True
    yaml.load = load


def load(spec):
    name, wanted = spec["module"], spec["layer"]
    module = importlib.import_module(name)
    restore_yaml()
    if not hasattr(module, wanted):
        raise AttributeError("module %r (%s) has no class %r" % (name, getattr(module, "__file__", "built in"), wanted))
    made = getattr(module, wanted)
    if not (isinstance(made, type) and issubclass(made, caffe.Layer)):
        raise TypeError("%s.%s is not a subclass of caffe.Layer" % (name, wanted))
    layer = made(types.SimpleNamespace(name=spec["name"], type="Python"))
    layer.param_str = layer.param_str_ = spec["param_str"]
    layer.phase = spec["phase"]
    remote = Remote(layer, spec)
    layer.blobs = remote.params
    return remote


def failure(error, method, own, path):
    """Describes an exception for crema's error message. own is the module that
    is being imported, if any."""
    most = 5
    frames = [f for f in traceback.extract_tb(error.__traceback__)
              if not f.filename.startswith((OURS, IMPORTS, "<frozen importlib"))]
    calls = ['  File "%s", line %d, in %s\n    %s' % (f.filename, f.lineno, f.name, f.line or "") for f in frames[-most:]]
    if len(frames) > most:
        calls.insert(0, "  ... %d calls" % (len(frames) - most))
    lines = traceback.format_exception_only(type(error), error)
    if isinstance(error, SyntaxError):
        message = lines[-1]  # the place comes first
        calls += lines[:-1]
    else:
        message = "".join(lines)
    message = message.strip().replace(" (%scaffe/__init__.py)" % OURS, "")
    return json.dumps({
        "method": method,
        "message": message,
        "frames": calls,
        "hint": hint(error, own, path),
    }).encode("utf-8")


# Names that Python 3 has no more, and what it has instead.
PYTHON2_NAMES = {
    "xrange": "range", "unicode": "str", "basestring": "str", "raw_input": "input", "long": "int", "unichr": "chr",
    "reduce": "functools.reduce", "file": "open", "execfile": "exec", "cmp": "(a > b) - (a < b)", "reload": "importlib.reload",
}
PYTHON2_METHODS = {"iteritems": "items", "itervalues": "values", "iterkeys": "keys", "has_key": "in", "next": "next()"}
PYTHON2_MODULES = {
    "cPickle": "pickle", "ConfigParser": "configparser", "Queue": "queue", "StringIO": "io", "cStringIO": "io",
    "urllib2": "urllib.request", "urlparse": "urllib.parse", "__builtin__": "builtins", "Tkinter": "tkinter",
}
# Modules whose package has another name.
PACKAGES = {"yaml": "pyyaml", "cv2": "opencv-python", "PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn",
            "google": "protobuf", "Image": "pillow"}


def hint(error, own, path):
    """Says what to do about errors that many meet, or nothing."""
    python2 = "this is Python 2 code, and this is Python %d.%d: " % sys.version_info[:2]
    text = str(error)
    if isinstance(error, SyntaxError):
        line = (error.text or "").strip()
        if ("call to 'print'" in text or "call to 'exec'" in text or "multiple exception types" in text or
                isinstance(error, TabError) or line.startswith("print ") or
                line.startswith("except ") and "," in line or line.startswith("raise ") and "," in line):
            return python2 + "2to3 -w %s (in Python up to 3.12) converts a file" % error.filename
    if isinstance(error, NameError):
        name = getattr(error, "name", None) or text.partition("'")[2].partition("'")[0]
        if name in PYTHON2_NAMES:
            return python2 + "write %s for %s" % (PYTHON2_NAMES[name], name)
    if (isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "caffe" or
            isinstance(error, AttributeError) and text.startswith("module 'caffe")):
        return "crema's module caffe has what layers need, not all of pycaffe"
    if isinstance(error, ImportError) and error.name:
        name = error.name
        if name in PYTHON2_MODULES:
            return python2 + "write %s for %s" % (PYTHON2_MODULES[name], name)
        if name.endswith(".py"):
            return "module is the name of a file without its .py"
        if isinstance(error, ModuleNotFoundError):
            top = name.partition(".")[0]
            looked = "own modules are looked for in " + ", ".join(d or "." for d in path)
            if top == own.partition(".")[0]:
                return looked
            return "%s -m pip install %s installs a package for this Python; %s" % (sys.executable, PACKAGES.get(top, top), looked)
    if isinstance(error, AttributeError):
        for old in PYTHON2_METHODS:
            if "has no attribute '%s'" % old in text:
                return python2 + "write %s for %s" % (PYTHON2_METHODS[old], old)
    if isinstance(error, TypeError) and "'Loader'" in text:
        return "PyYAML 6 wants a loader: write yaml.safe_load for yaml.load"
    if isinstance(error, TypeError) and "'float' object cannot be interpreted as an integer" in text:
        return "in Python 3, / between integers gives a float: write // where Python 2 code means an integer"
    return ""


def serve(pipes, path):
    remotes = {}
    while True:
        kind, body = pipes.receive()
        remote, own = None, ""
        try:
            if kind == LOAD:
                spec = json.loads(body.decode("utf-8"))
                own = spec["module"]
                remotes[spec["number"]] = load(spec)
                reply = b""
            else:
                number, reshape, bottoms, tops, params = CALL.unpack_from(body)
                remote = remotes[number]
                at = CALL.size + bottoms
                remote.update(body, at, (bottoms, tops, params))
                down = [d != 0 for d in bytearray(body[CALL.size:at])]
                remote.run(kind, reshape, down)
                reply = remote.changes()
        except Ended:
            raise
        except BaseException as error:
            host.changed = []
            flush()
            pipes.send(FAILED, failure(error, remote.method if remote else "", own, path))
            continue
        flush()
        pipes.send(DONE, reply)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # a layer may have replaced or closed it


def main():
    global np, caffe, host
    faulthandler.enable()
    sys.argv = [""]
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(getattr(sys, name).detach(), "utf-8", "backslashreplace", line_buffering=True)
        setattr(sys, name, stream)
    pipes = Pipes()
    try:
        _, body = pipes.receive()
        init = json.loads(body.decode("utf-8"))
        import atexit
        atexit.register(stop_watching, os.getpid(), watch(init["grace"]))
        python = {"python": "%d.%d.%d" % sys.version_info[:3], "executable": sys.executable}
        sys.path[:] = [d for d in sys.path if d != ""]  # a file here must not be taken for a part of numpy
        try:
            import numpy as np
        except ImportError as error:
            python["missing"] = str(error)
            pipes.send(FAILED, json.dumps(python).encode("utf-8"))
            return
        restore_numpy()
        host = Host(pipes)
        caffe = import_files(init["files"])
        caffe._caffe.types = init["types"]
        path = search_path(init["dirs"])
        import random
        random.seed(init["seed"])
        np.random.seed(init["seed"] & 0xFFFFFFFF)
        python["numpy"] = np.__version__
        pipes.send(DONE, json.dumps(python).encode("utf-8"))
        serve(pipes, path)
    except (Ended, BrokenPipeError):
        pass


main()
