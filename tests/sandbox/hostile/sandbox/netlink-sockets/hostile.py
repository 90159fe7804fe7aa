import socket

from attempts import attempt, done

for protocol in (0, 9, 15, 16):  # route, audit, device events, generic
    attempt(f"netlink {protocol}", lambda protocol=protocol: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol))
done()
