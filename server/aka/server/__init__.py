"""The aka server: the contract's rules over a durable store, served over gRPC and REST."""

import os

# Read when grpc is imported: without it grpc's core writes to stderr beside the log, and not in its form.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
