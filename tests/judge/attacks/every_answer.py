"""kind: stdin. Prints every number there is, on one line and on many."""

print(*range(1000))
print(*range(1000), sep="\n")
