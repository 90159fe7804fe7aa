import socket

from attempts import BAIT, attempt, done

paths = (f"{BAIT['folder']}/socket", "/var/run/docker.sock", "/run/dbus/system_bus_socket")
for address in (BAIT["abstract"].replace("@", "\0"), *paths):
    attempt(f"connect {address[-40:]!r}", lambda address=address: socket.socket(socket.AF_UNIX).connect(address))
done()
