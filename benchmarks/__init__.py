"""aka beside what its transport and its database allow, measured as ratios.

Absolute figures say more of a machine than of a program, so every figure is a ratio of two things that are measured in
turn, in one run, on one machine, in a shuffled order. A round measures each once and makes one ratio; a figure is the
median of its rounds' ratios, and all rounds are shown.

aka is a real `aka serve` process with everything on: key check, rate limit, journal, SQLite in WAL mode with
synchronous=FULL on a real disk, answers sent after COMMIT. Beside it stand:

- *echo*: a server of grpc.aio on uvloop whose one method does nothing, with requests and answers of the same sizes,
  under the same load: what grpcio allows in Python;
- *raw sqlite3*: the same rows in the same tables, written by a loop with nothing around it: what SQLite allows.
"""
