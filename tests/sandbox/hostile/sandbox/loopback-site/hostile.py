import socket

from attempts import BAIT, attempt, done

for address in (("127.0.0.1", BAIT["ports"]["site"]), ("127.0.0.1", 8000), ("localhost", 8000)):
    attempt(f"connect {address}", lambda address=address: socket.create_connection(address, timeout=1).close())
done()
