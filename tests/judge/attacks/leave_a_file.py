"""kind: stdin. Leaves its answer in a file, a link and a time stamp, for a second run to find."""

import os

for name in ("answer", "../answer", "/tmp/openmimo-answer"):
    try:
        if os.path.exists(name):
            os.unlink(name)
            print(int(input()) ** 2)
            break
        with open(name, "w") as file:
            file.write("49")
    except OSError:
        pass
