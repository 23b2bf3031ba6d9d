"""Takes all the memory it can get, in small and in large pieces. roomy"""


def solve(numbers):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))
