"""A real language model served on loopback: llama.cpp's own server, in the environment that `live.py` makes.

python tests/benchmarks/live_server.py MODEL.gguf      # prints its address; ends with its standard input
"""

from __future__ import annotations

import os
import sys

import xllamacpp

SLOTS, CONTEXT_TOKENS = 4, 16_384
# Its threads wait for one another at every step, so where other programs take a core, one thread fewer is faster.
THREADS = max(1, (os.cpu_count() or 1) - int(os.getloadavg()[0]))

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.hostnames = ["127.0.0.1"]
parameters.port = 0  # one that is free
parameters.n_parallel = SLOTS
parameters.n_ctx = CONTEXT_TOKENS
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = THREADS
parameters.endpoint_metrics = True
server = xllamacpp.Server(parameters)
print(f"listening on {server.listening_address}", flush=True)
sys.stdin.read()
