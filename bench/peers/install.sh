#!/bin/sh
# Installs the libraries that crema is compared with, from Debian 12 (needs
# root). Nothing but the comparison uses them.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  g++ libdnnl-dev libopenblas-dev python3-numpy python3-torch
