"""The REST gateway: JSON to a message, one call of a stub, the answer to JSON. It knows the contract and no rule."""
