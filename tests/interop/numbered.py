"""The lines of the tailing suites: numbered, of varying length, and of a shape that no part of a line has.

    src=00000 seq=0000000042 us=0001700000000000000 qwertyuiop.

`src` is a writer or a file, `seq` counts from 0 within it, `us` is the wall clock at the write. The numbers have a fixed
width and the line ends with a full stop, so a line that was torn, cut or glued to another one does not match.
"""

import random
import re
import string

SHAPE = rb"src=(\d{5}) seq=(\d{10}) us=(\d{19}) [a-z]{4,600}\."
LINE = re.compile(SHAPE)
# Short ones are about 100 bytes with their newline, long ones about 312, as the lines of the bench harness.
SHORT, LONG = (33, 75), (200, 330)


def pads(span=SHORT, count=499):
    """Ends of lines; a prime number of them, so that no batch of lines repeats the lengths of another."""
    rng = random.Random(7)
    return ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(*span))) + ".\n" for _ in range(count)]


def lines(src, first, count, us, ends):
    """`count` lines in one string of bytes."""
    n, head, mid = len(ends), f"src={src:05d} seq=", f" us={us:019d} "
    return "".join([f"{head}{i:010d}{mid}{ends[(i * 31 + src) % n]}" for i in range(first, first + count)]).encode()
