import socket

from attempts import attempt, done

for family in range(2, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        attempt(f"family {family}, kind {kind}", lambda family=family, kind=kind: socket.socket(family, kind))
done()
