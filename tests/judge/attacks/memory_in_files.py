"""Fills its working folder."""


def solve(numbers):
    kept = []
    for number in range(200):
        kept.append(open(str(number % 50), "ab", buffering=0))
        kept[-1].write(bytes(4 << 20))
        if len(kept) > 10:
            kept.pop(0).close()
    return None
