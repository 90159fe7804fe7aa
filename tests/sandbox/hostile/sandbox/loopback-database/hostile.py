import socket

from attempts import BAIT, attempt, done

for address in (("127.0.0.1", BAIT["ports"]["database"]), ("127.0.0.1", 5432), ("::1", 5432)):
    attempt(f"connect {address}", lambda address=address: socket.create_connection(address, timeout=1).close())
done()
