"""The identity graph and its rules: values in, answers and changes out; no I/O, no clock, no transport."""
