"""PyTorch as a peer: VGG-16 as models/es_vgg has it, on data in memory.

usage: vgg.py contiguous|channels_last

Requests on standard input, answered as peer.h says:

    vgg train N      one iteration: forward, backward, SGD step
    vgg forward N    forward alone, without dropout and loss

The images are there already: no time is spent on loading them.
"""

import os
import resource
import sys
import time

import torch
from torch import nn


def vgg16():
    """Thirteen 3x3 convolutions and three fully connected layers."""
    layers, channels = [], 3
    for outputs, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            channels = outputs
        layers.append(nn.MaxPool2d(2, 2))
    layers.append(nn.Flatten())
    inputs = 512 * 7 * 7
    for outputs in (4096, 4096):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        inputs = outputs
    layers.append(nn.Linear(inputs, 1000))
    return nn.Sequential(*layers)


class Peer:
    def __init__(self, memory_format):
        self.memory_format = memory_format
        self.net = vgg16().to(memory_format=memory_format)
        self.loss = nn.CrossEntropyLoss()
        # A small rate, so that the weights stay finite on random labels.
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)
        self.batches = {}

    def batch(self, n):
        if n not in self.batches:
            x = (torch.rand(n, 3, 224, 224) - 0.5).contiguous(memory_format=self.memory_format)
            self.batches[n] = x, torch.arange(n) % 1000
        return self.batches[n]

    def train(self, n):
        x, labels = self.batch(n)
        self.net.train()
        self.sgd.zero_grad()
        self.loss(self.net(x), labels).backward()
        self.sgd.step()

    def forward(self, n):
        x, _ = self.batch(n)
        self.net.eval()
        with torch.inference_mode():
            self.net(x)

    def seconds(self, request):
        """The time of one run, as peer.h's seconds."""
        what, direction, n = request.split()
        if what != "vgg" or direction not in ("train", "forward"):
            raise ValueError("unknown request " + request)
        run = getattr(self, direction)
        n = int(n)
        run(n)  # not timed: as in peer.h
        start = time.perf_counter()
        run(n)
        return time.perf_counter() - start


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    peer = Peer({"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[sys.argv[1]])
    for line in sys.stdin:
        try:
            seconds = peer.seconds(line.strip())
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"{seconds:.6g}\tpeak {peak:.2f} GiB", flush=True)
        except Exception as e:
            print("error", str(e).replace("\n", " ").replace("\t", " "), sep="\t", flush=True)


if __name__ == "__main__":
    main()
