"""kind: stdin. Never reads its input, and prints a constant."""

print(48)
