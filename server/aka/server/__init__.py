"""The aka server: the contract's rules over a durable store, served over gRPC."""
