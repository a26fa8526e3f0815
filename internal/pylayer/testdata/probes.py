"""Layers that do what layers should not, for the tests of package pylayer."""
import atexit
import os
import signal
import subprocess
import sys
import threading
import time

import caffe


class Double(caffe.Layer):
    """Doubles its bottom."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


class Scale(caffe.Layer):
    """Multiplies its bottom by a parameter, which it increases."""

    def setup(self, bottom, top):
        self.blobs.add_blob()
        self.blobs[0].data[...] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data
        if self.phase == caffe.TRAIN:
            self.blobs[0].data[...] += 1


class Do(caffe.Layer):
    """Does in forward what param_str says."""

    def forward(self, bottom, top):
        exec(self.param_str, globals())


class DoAtExit(caffe.Layer):
    """Does when the process ends what param_str says."""

    def setup(self, bottom, top):
        atexit.register(exec, self.param_str, globals())


class Thread(caffe.Layer):
    """Leaves a thread that never ends."""

    def setup(self, bottom, top):
        threading.Thread(target=time.sleep, args=(1e6,)).start()


class Child(caffe.Layer):
    """Starts a process that never ends and has all files open; tops are the
    numbers of this process and of that one."""

    def setup(self, bottom, top):
        self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"], close_fds=False)

    def reshape(self, bottom, top):
        top[0].reshape(2)

    def forward(self, bottom, top):
        top[0].data[...] = os.getpid(), self.child.pid


class Hang(caffe.Layer):
    """Writes its process's number to a file and hangs."""

    def forward(self, bottom, top):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(self.param_str + ".tmp", "w") as f:
            f.write("%d" % os.getpid())
        os.rename(self.param_str + ".tmp", self.param_str)
        while True:
            time.sleep(1e6)
