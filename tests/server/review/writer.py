"""A process that answers cases one after the other and says which answers were acknowledged.

    python writer.py DATABASE READER COUNT CASE...

It prints the number of each row once it is acknowledged; killed at any moment, it has printed no
row that is not on the disk.
"""

from __future__ import annotations

import sys

from eosin.server.record import Given, Record


def main() -> None:
    """Answer until there are enough, or until it is killed."""
    database, reader, count, *cases = sys.argv[1:]
    record = Record(database)
    print("ready", flush=True)  # noqa: T201
    for turn in range(int(count)):
        given = Given(reader, cases[turn % len(cases)], str(turn % 3), comment=f"{reader} {turn}")
        row = record.answer(given)
        print(row.number, row.comment, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
